//! Budgets as policyd shows them.

use writ_proto::pb;

use crate::World;

impl World {
    /// A budget of acme, as its operator sees it.
    pub async fn budget(&self, id: &str, subject: &str) -> pb::Budget {
        let request = pb::GetBudgetRequest {
            name: format!("tenants/acme/budgets/{id}"),
            subject: subject.into(),
        };
        let mut operator = self.operator().await;
        let answer = operator.budgets.get_budget(request).await.unwrap();
        answer.into_inner().budget.unwrap()
    }

    /// Budgets of acme, as somebody sees them.
    pub async fn budgets(&self, name: &str) -> Vec<pb::Budget> {
        let request = pb::ListBudgetsRequest {
            parent: "tenants/acme".into(),
        };
        let mut actor = self.actor(name).await;
        let answer = actor.budgets.list_budgets(request).await.unwrap();
        answer.into_inner().budgets
    }
}

//! A plain page of records and effects.

use crate::lab::sandbox::store::Store;

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// The page.
pub(crate) async fn render(store: &Store) -> Result<String, sqlx::Error> {
    let mut html = String::from(
        "<!doctype html><meta charset=utf-8><title>Sandbox CRM</title>\
         <style>body{font:14px sans-serif}td,th{padding:2px 8px;text-align:left}</style>\
         <h1>Sandbox CRM</h1><table><tr><th>record<th>version<th>fields</tr>",
    );
    for kind in crate::lab::sandbox::store::KINDS {
        for record in store.list(kind, None).await? {
            let fields = escaped(&record.fields.to_string());
            let id = escaped(&record.id);
            html.push_str(&format!(
                "<tr><td>{kind}/{id}<td>{}<td>{fields}</tr>",
                record.version
            ));
        }
    }
    html.push_str("</table><h2>Effects</h2><table><tr><th>#<th>by<th>record<th>change</tr>");
    for effect in store.effects().await? {
        html.push_str(&format!(
            "<tr><td>{}<td>{}<td>{}/{}<td>{}</tr>",
            effect.seq,
            escaped(&effect.by),
            effect.kind,
            escaped(&effect.id),
            escaped(&effect.change)
        ));
    }
    html.push_str("</table>");
    Ok(html)
}

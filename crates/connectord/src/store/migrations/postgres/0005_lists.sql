-- What a tenant lists costs by its own executions, not by those of the others. On a large journal make it beforehand, beside
-- running replicas: CREATE INDEX CONCURRENTLY execution_of_tenant ON execution (tenant, id). Where that was given up halfway the
-- index is there and serves nobody: DROP INDEX execution_of_tenant, and begin anew.
CREATE INDEX IF NOT EXISTS execution_of_tenant ON execution (tenant, id);

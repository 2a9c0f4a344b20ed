-- What a tenant lists costs by its own executions, not by those of the others.
CREATE INDEX execution_of_tenant ON execution (tenant, id);

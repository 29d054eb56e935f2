-- finds: A rule rewrites what requests write to a table of this service. PostgreSQL then refuses `on conflict`, and a
-- request may write something else than it says.
-- advice: This drops the rule, and keeps its definition as a comment. A trigger can do the same, row by row.
-- query: attached_rule

-- Operators delete items.
values ('{items}', true), ('{registrations}', false);

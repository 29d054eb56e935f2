-- What was counted and recorded of the searches before V16: their words had another meaning.
truncate sugang.search_counts, sugang.search_changes;

-- The lexemes of target_title, for searches. A payment from before has none; a search
-- of its user reads its title instead.
alter table payments add column title_vector tsvector;

-- finds: A sequence that numbers ids is owned by no column, as Django before 3.0 left it behind a new BigAutoField.
-- repair: Owned by the id. This service finds a sequence by its owner: to grant it, and to set it to the largest id.
-- query: sequence_owners

values ('users'), ('payments'), ('django_content_type');

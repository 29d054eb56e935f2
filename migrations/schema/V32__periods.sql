-- One kind: a search reads the periods of the items themselves. Beside the words, to move a period wrote all words of
-- the item to their index again.
-- squawk-ignore-file ban-drop-column

alter table sugang.{kind}_search drop column start_at, drop column end_at;

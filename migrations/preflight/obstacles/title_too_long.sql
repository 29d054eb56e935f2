-- finds: Titles have more than 255 characters. A payment keeps the title of its item, in that many.
-- advice: This cuts the title, and moves the whole of it into the description.

select format('{kind} %s: %s characters', id, length(title)) from {items} where length(title) > 255 order by id;

-- remedy:
update {items} set description = concat_ws(E'\n\n', title, description), title = left(title, 255)
where length(title) > 255;

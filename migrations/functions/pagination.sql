create or replace function sugang.page_size() returns integer language sql immutable parallel safe as $$ select 20 $$;

-- Fills count, page and pages of a list; the outcome is null when the page exists. Page 0 is the last page. An empty
-- list has one page. The count is null while it is being taken.
create or replace function sugang.paginate(p_count bigint, p_page bigint) returns sugang.function_row
language plpgsql immutable as $$
declare
    a sugang.function_row;
begin
    if p_count is null then
        a.outcome := 'counting';
        return a;
    end if;
    a.count := p_count;
    a.pages := greatest((p_count + sugang.page_size() - 1) / sugang.page_size(), 1);
    a.page := case p_page when 0 then a.pages else p_page end;
    if a.page not between 1 and a.pages then a.outcome := 'invalid_page'; end if;
    return a;
end $$;

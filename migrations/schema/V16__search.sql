-- One kind: what a search reads of its items, in a table of its own. To register for an item writes a new version of
-- its row to every index of {items}; the many lexemes of a search would slow that down. The rows lie in the order of
-- the list, so that a page of a frequent search reads few blocks.

-- As in functions/search.sql when this file was written. The cost makes PostgreSQL share the work among processes.
-- The form in which texts and queries are compared: NFKC, lower case, without invisible characters. A + or # behind a
-- letter belongs to it (C++, C#, A+): private characters stand for them.
create or replace function pg_temp.search_fold(p_text text) returns text
language plpgsql immutable strict parallel safe as $$
declare
    folded text := lower(normalize(translate(p_text, U&'\00AD\200B\200C\200D\2060\FEFF', ''), nfkc));
begin
    if folded ~ '[+#]' then
        folded := regexp_replace(folded, '([a-z])\+\+', U&'\\1\E000', 'g');
        folded := regexp_replace(folded, '([a-z])#', U&'\\1\E001', 'g');
        folded := regexp_replace(folded, '([a-z])\+(?![a-z0-9])', U&'\\1\E002', 'g');
    end if;
    return folded;
end $$;

-- For bracket expressions: the syllables (Hangul, Kana, Han), and what separates runs.
create or replace function pg_temp.search_syllables() returns text language sql immutable parallel safe as $$
    select '\uAC00-\uD7A3\u1100-\u115E\u1161-\u119D\u119F-\u11FF\u3041-\u3096\u309D-\u30FA\u30FC-\u30FF\u31F0-\u31FF'
        '\u3005-\u3007\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF\U00020000-\U000323AF'
$$;
create or replace function pg_temp.search_separators() returns text language sql immutable parallel safe as $$
    select '\u0001-\u002F\u003A-\u0040\u005B-\u0060\u007B-\u00A9\u00AB-\u00B4\u00B6-\u00B9\u00BB-\u00BF\u00D7\u00F7'
        '\u060C\u061B\u061F\u0964\u0965\u115F\u1160\u119E\u2000-\u206F\u20A0-\u2BFF\u2E00-\u2E7F\u3000-\u3004'
        '\u3008-\u3020\u3030-\u303F\u3099-\u309C\u30FB\uFE00-\uFE6F\uFFF0-\uFFFF\U0001F000-\U0001FAFF'
        '\U000E0000-\U000E0FFF'
$$;

-- The lexemes of a text, separated by blanks, one for each position; a dot is a position without a lexeme.
-- With p_joined, each run of syllables is paired with the next one: x_y, or x~y when x is a run by itself.
-- Cut off after 16,000 characters: a tsvector has not more positions.
create or replace function pg_temp.search_lexemes(p_text text, p_joined boolean) returns text
language plpgsql immutable strict parallel safe as $$
declare
    t text := left(pg_temp.search_fold(p_text), 16000);
begin
    -- Blanks around each run of digits or letters, and one blank for all else that separates.
    t := regexp_replace(t, '[0-9]+|[^0-9' || pg_temp.search_syllables() || pg_temp.search_separators() || ']+', ' \& ', 'g');
    t := btrim(regexp_replace(t, '[' || pg_temp.search_separators() || ']+', ' ', 'g'));
    -- ab cde f g: ab. cde. f g
    t := regexp_replace(t, '[' || pg_temp.search_syllables() || ']{2,}', '\&.', 'g');
    if p_joined then
        -- ab_cde_f~g
        t := regexp_replace(t, '\. (?=[' || pg_temp.search_syllables() || '])', '_', 'g');
        t := regexp_replace(t, '(?<=[' || pg_temp.search_syllables() || ']) (?=[' || pg_temp.search_syllables() || '])',
                            '~', 'g');
    end if;
    -- ab b_c cd de e_f f~g g, or ab. cd de. f g
    t := regexp_replace(t, '(?<=[_~' || pg_temp.search_syllables() || '])[' || pg_temp.search_syllables() || '](?=[_~'
                           || pg_temp.search_syllables() || '])|(?<=[_~])[' || pg_temp.search_syllables() || ']',
                        '\& \&', 'g');
    return replace(t, '.', ' .');
end $$;

-- The lexemes of a title and a description, with the weights A and B. No phrase reaches from one into the other.
create or replace function pg_temp.search_vector(p_title text, p_description text) returns tsvector
language plpgsql immutable parallel safe cost 10000 as $$
declare
    title text := coalesce(pg_temp.search_lexemes(p_title, true), '');
    title_length integer := length(title) - length(replace(title, ' ', '')) + 1;
    lexemes text := concat_ws(' . ', title, pg_temp.search_lexemes(p_description, false));
begin
    return (select coalesce(string_agg(left(lexeme, 64) || case when n > title_length then ':' || n || 'B'
                                       else ':' || n || 'A' end, ' '), '')
            from string_to_table(lexemes, ' ') with ordinality l (lexeme, n) where lexeme not in ('', '.'))::tsvector;
end $$;

-- No item may be written between this copy and the triggers that keep it.
lock table {items} in share row exclusive mode;

create table sugang.{kind}_search as
select id as item_id, created_at, start_at, end_at, pg_temp.search_vector(title, description) as search_vector
from {items}
order by created_at;
alter table sugang.{kind}_search add primary key (item_id);

-- The order of the default list.
create index {kind}_search_newest on sugang.{kind}_search (created_at desc, item_id desc);
-- Every search reads the pending entries: short enough for readers, long enough for writers to share the work.
create index {kind}_search_vector on sugang.{kind}_search using gin (search_vector)
    with (gin_pending_list_limit = 64);
analyze sugang.{kind}_search;

-- Searches no longer read {items}.
-- squawk-ignore require-concurrent-index-deletion
drop index {items}_unsearchable;

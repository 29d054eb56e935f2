-- How text is searched: what a title, a description and a query are made of.
--
-- Where a literal here, or in any other file of functions/, has a backslash, it is E'…': another program may write
-- without `standard_conforming_strings`, and the triggers work in its session.
--
-- A text is a sequence of runs: of syllables (Hangul, and other scripts that write no blank between words), of digits,
-- or of letters. A run of letters or digits is one lexeme. A run of syllables is one lexeme for each pair of neighbors,
-- at the position of the first one (정보처리 is 정보, 보처, 처리), so that every part of two syllables or more is found by
-- exact look-ups; a run of a single syllable is that syllable. In a title, the last syllable of a run also pairs with
-- the first one of the next run, with _ between them, so that a query may leave out blanks that the title has.

-- The form in which texts and queries are compared: NFKC, lower case, without invisible characters. A + or # behind a
-- letter belongs to it (C++, C#, A+): private characters stand for them.
create or replace function sugang.search_fold(p_text text) returns text
language plpgsql immutable strict parallel safe as $$
declare
    folded text := lower(normalize(translate(p_text, E'\u00AD\u200B\u200C\u200D\u2060\uFEFF', ''), nfkc));
begin
    if folded ~ '[+#]' then
        folded := regexp_replace(folded, E'([a-z])\\+\\+', E'\\1\uE000', 'g');
        folded := regexp_replace(folded, '([a-z])#', E'\\1\uE001', 'g');
        folded := regexp_replace(folded, E'([a-z])\\+(?![a-z0-9])', E'\\1\uE002', 'g');
    end if;
    return folded;
end $$;

-- For bracket expressions: the syllables (Hangul, Kana, Han), and what separates runs.
create or replace function sugang.search_syllables() returns text language sql immutable parallel safe as $$
    select E'\\uAC00-\\uD7A3\\u1100-\\u115E\\u1161-\\u119D\\u119F-\\u11FF\\u3041-\\u3096\\u309D-\\u30FA\\u30FC-\\u30FF'
        '\\u31F0-\\u31FF\\u3005-\\u3007\\u3400-\\u4DBF\\u4E00-\\u9FFF\\uF900-\\uFAFF\\U00020000-\\U000323AF'
$$;
create or replace function sugang.search_separators() returns text language sql immutable parallel safe as $$
    select E'\\u0001-\\u002F\\u003A-\\u0040\\u005B-\\u0060\\u007B-\\u00A9\\u00AB-\\u00B4\\u00B6-\\u00B9\\u00BB-\\u00BF'
        '\\u00D7\\u00F7\\u060C\\u061B\\u061F\\u0964\\u0965\\u115F\\u1160\\u119E\\u2000-\\u206F\\u20A0-\\u2BFF'
        '\\u2E00-\\u2E7F\\u3000-\\u3004\\u3008-\\u3020\\u3030-\\u303F\\u3099-\\u309C\\u30FB'
        '\\uFE00-\\uFE6F\\uFFF0-\\uFFFF\\U0001F000-\\U0001FAFF'
        '\\U000E0000-\\U000E0FFF'
$$;

-- The lexemes of a text, separated by blanks, one for each position; a dot is a position without a lexeme.
-- With p_joined, each run of syllables is paired with the next one: x_y, or x~y when x is a run by itself.
-- Cut off after 16,000 characters: a tsvector has not more positions.
create or replace function sugang.search_lexemes(p_text text, p_joined boolean) returns text
language plpgsql immutable strict parallel safe as $$
declare
    t text := left(sugang.search_fold(p_text), 16000);
begin
    -- Blanks around each run of digits or letters, and one blank for all else that separates.
    t := regexp_replace(t, '[0-9]+|[^0-9' || sugang.search_syllables() || sugang.search_separators() || ']+',
                        E' \\& ', 'g');
    t := btrim(regexp_replace(t, '[' || sugang.search_separators() || ']+', ' ', 'g'));
    -- ab cde f g: ab. cde. f g
    t := regexp_replace(t, '[' || sugang.search_syllables() || ']{2,}', E'\\&.', 'g');
    if p_joined then
        -- ab_cde_f~g
        t := regexp_replace(t, E'\\. (?=[' || sugang.search_syllables() || '])', '_', 'g');
        t := regexp_replace(t, '(?<=[' || sugang.search_syllables() || ']) (?=[' || sugang.search_syllables() || '])',
                            '~', 'g');
    end if;
    -- ab b_c cd de e_f f~g g, or ab. cd de. f g
    t := regexp_replace(t, '(?<=[_~' || sugang.search_syllables() || '])[' || sugang.search_syllables() || '](?=[_~'
                           || sugang.search_syllables() || '])|(?<=[_~])[' || sugang.search_syllables() || ']',
                        E'\\& \\&', 'g');
    return replace(t, '.', ' .');
end $$;

-- The lexemes of a title and a description, with the weights A and B. No phrase reaches from one into the other.
create or replace function sugang.search_vector(p_title text, p_description text) returns tsvector
language plpgsql immutable parallel safe as $$
declare
    title text := coalesce(sugang.search_lexemes(p_title, true), '');
    title_length integer := length(title) - length(replace(title, ' ', '')) + 1;
    lexemes text := concat_ws(' . ', title, sugang.search_lexemes(p_description, false));
begin
    return (select coalesce(string_agg(left(lexeme, 64) || case when n > title_length then ':' || n || 'B'
                                       else ':' || n || 'A' end, ' '), '')
            from string_to_table(lexemes, ' ') with ordinality l (lexeme, n) where lexeme not in ('', '.'))::tsvector;
end $$;

-- What the Django service searches: the words of an item, those of the title before those of the description. Of a
-- description, as much as fits into a tsvector whatever its words are: a byte of it may need two there.
create or replace function sugang.item_words(p_title text, p_description text) returns tsvector
language sql immutable parallel safe as $$
    select setweight(to_tsvector('simple', coalesce(p_title, '')), 'A')
        || setweight(to_tsvector('simple', left(coalesce(p_description, ''), 120000)), 'B')
$$;

-- The query for one word or quoted phrase, in the syntax of a tsquery; null when it has nothing to look for.
--
-- Its runs stand side by side. Parts of a run of syllables match; the last run of letters or digits is a beginning,
-- unless quoted; a single syllable alone is a run of its own. A run of four syllables or more also matches across the
-- runs of a title, unless quoted.
create or replace function sugang.search_term(p_term text, p_quoted boolean) returns text
language plpgsql immutable strict parallel safe as $$
declare
    runs text[] := array(select m[1] from regexp_matches(p_term,
        '[' || sugang.search_syllables() || ']+|[0-9]+|[^0-9' || sugang.search_syllables()
            || sugang.search_separators() || ']+', 'g') m);
    run text;
    term text;
    steps integer := 0; -- positions since the last lexeme
begin
    for i in 1..cardinality(runs) loop
        run := runs[i];
        if run !~ ('^[' || sugang.search_syllables() || ']') then
            run := '''' || left(run, 64) || case when i = cardinality(runs) and not p_quoted then ''':*' else '''' end;
            term := concat_ws(' <' || steps || '> ', term, run);
            steps := 1;
        elsif length(run) = 1 then
            -- Behind another run, it is the beginning of its own.
            run := case when i = cardinality(runs) and i > 1 and not p_quoted then '''' || run || ''':*'
                        else '(''' || run || ''' | ''' || run || '~'':*)' end;
            term := concat_ws(' <' || steps || '> ', term, run);
            steps := 1;
        else
            for j in 1..length(run) - 1 loop
                term := concat_ws(' <' || steps || '> ', term,
                    case when p_quoted or length(run) < 4 then '''' || substr(run, j, 2) || ''''
                         else format('(''%1$s%2$s'' | ''%1$s_%2$s'' | ''%1$s~%2$s'')', substr(run, j, 1),
                                     substr(run, j + 1, 1)) end);
                steps := 1;
            end loop;
            steps := 2;
        end if;
    end loop;
    return '(' || term || ')';
end $$;

-- A search as websearch_to_tsquery reads it: words are and-ed; "phrase", or, -not. PostgreSQL reads a text in which a
-- name stands for each word and phrase, and the names are replaced by what they stand for.
create or replace function sugang.search_query(p_search text) returns tsquery
language plpgsql immutable strict parallel safe as $$
declare
    terms text[] := array[]::text[];
    names text := '';
    term text;
    word record;
begin
    for word in select m[1] as dashes, m[2] as phrase, m[3] as plain
            from regexp_matches(translate(sugang.search_fold(p_search), '“”„‟«»!&|()', '""""""     '),
                                E'(-*)(?:"([^"]*)"?|([^\\s"]+))', 'g') m loop
        if word.plain = 'or' and word.dashes = '' then
            names := names || ' or';
        elsif word.plain ~ '^-+$' then
            names := names || ' ' || word.plain;
        else
            term := sugang.search_term(coalesce(word.phrase, word.plain), word.phrase is not null);
            if term is not null then terms := terms || term; end if;
            -- What has nothing to look for is a word that PostgreSQL ignores.
            names := names || ' ' || word.dashes || case when term is null then '+' else 'w' || cardinality(terms) end;
        end if;
    end loop;
    -- In the text of a tsquery, every second part is between quotes.
    return (select coalesce(string_agg(case when n % 2 = 1 then part when part = 'or' then '''or'':*'
                                       else terms[substr(part, 2)::integer] end, '' order by n), '')
            from string_to_table(websearch_to_tsquery('simple', names)::text, '''') with ordinality p (part, n))::tsquery;
end $$;

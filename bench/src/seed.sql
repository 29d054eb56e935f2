-- A catalogue made up on the server: the temporary functions that `cargo xtask seed` calls in its sessions.
--
-- Row n is a function of n, and of the day, since periods are relative to today: hashes of n pick everything in it.
-- So two runs write the same rows, and a longer run continues where a shorter one ended. Titles and descriptions are
-- composed of parts whose search vectors are computed once: computing them row by row would take half of the time.

-- The choice of row n among p_choices, from 1 on. Each purpose has its own, independent ones.
create function pg_temp.pick(n bigint, p_purpose integer, p_choices integer) returns integer language sql immutable
return 1 + ((hashint8extended(n, p_purpose) & 2147483647) % p_choices)::integer;

-- The same in [0, 1).
create function pg_temp.fraction(n bigint, p_purpose integer) returns float8 language sql immutable
return (hashint8extended(n, p_purpose) & 4294967295) / 4294967296.0::float8;

create temporary table parts (
    kind text not null,
    part text not null,
    number integer not null,
    words text not null,
    vector tsvector not null,
    lexemes tsvector not null, -- what a search reads
    primary key (kind, part, number)
);

-- Every combination of one word of each list.
create function pg_temp.add_part(p_kind text, p_part text, p_weight "char", variadic p_lists text[]) returns void
language plpgsql as $$
declare
    combined text[] := '{""}';
    list text;
begin
    foreach list in array p_lists loop
        combined := array(select ltrim(head || ' ' || word)
                          from unnest(combined) with ordinality heads (head, i),
                               unnest(string_to_array(list, '|')) with ordinality words (word, j) order by i, j);
    end loop;
    insert into parts
        select p_kind, p_part, i, words, setweight(to_tsvector('simple', words), p_weight),
               pg_temp.part_lexemes(words, p_weight = 'A', p_weight,
                                    case p_part when 'about' then 2 when 'teacher' then 1 else 0 end)
        from unnest(combined) with ordinality c (words, i);
end $$;

-- What a search reads of a part, after a number of positions without a lexeme.
create function pg_temp.part_lexemes(p_words text, p_joined boolean, p_weight "char", p_after integer) returns tsvector
language sql
return (select string_agg(format('''%s'':%s%s', lexeme, n + p_after, p_weight), ' ')::tsvector
        from string_to_table(sugang.search_lexemes(p_words, p_joined), ' ') with ordinality l (lexeme, n)
        where lexeme <> '.');

-- The subjects as they are behind a region: its last syllable and their first one are a lexeme.
create temporary table subjects (
    kind text not null,
    part text not null,
    number integer not null,
    syllable text not null,
    lexemes tsvector not null,
    primary key (kind, part, number, syllable)
);

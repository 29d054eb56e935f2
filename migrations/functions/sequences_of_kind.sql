-- One kind: the sequences of its tables.
create or replace function sugang.advance_{kind}_sequences() returns void language sql as $$
    select sugang.advance_sequence('{items}'), sugang.advance_sequence('{registrations}')
$$;

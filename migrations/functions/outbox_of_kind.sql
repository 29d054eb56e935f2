-- One kind: the events of its items, for the outbox.

-- Whether users can register for an item at this time, as far as the item alone decides.
create or replace function sugang.{kind}_is_open(i {items}, p_at timestamptz) returns boolean language sql stable as $$
    select not i.hidden and p_at between i.start_at and i.end_at
$$;

create or replace function sugang.{kind}_is_full(i {items}) returns boolean language sql stable as $$
    select coalesce(i.registration_count + i.held_count >= i.capacity, false)
$$;

-- An item that fills up or gets a free seat, and one that an edit opens: see edited_items.sql.
create or replace function sugang.publish_{kind}_edit(i_old {items}, i_new {items}) returns void
language plpgsql as $$
declare
    happened_at timestamptz := clock_timestamp();
begin
    if sugang.{kind}_is_open(i_new, happened_at) and not sugang.{kind}_is_open(i_old, happened_at) then
        perform sugang.publish_item('{kind}', i_new.id, 'opened');
    end if;
    if not i_new.hidden and sugang.{kind}_is_full(i_new) <> sugang.{kind}_is_full(i_old) then
        perform sugang.publish_item('{kind}', i_new.id,
                                    case when sugang.{kind}_is_full(i_new) then 'sold_out' else 'seat_available' end);
    end if;
end $$;

create or replace function sugang.publish_{kind}_creation() returns trigger language plpgsql as $$
begin
    if pg_sequence_last_value('sugang.webhooks_id_seq') is null or not sugang.has_webhooks() then return null; end if;
    perform sugang.publish_item('{kind}', id, 'opened')
        from added a where sugang.{kind}_is_open(a::{items}, clock_timestamp()) order by id;
    return null;
end $$;
create or replace trigger sugang_outbox_insert after insert on {items}
    referencing new table as added
    for each statement execute function sugang.publish_{kind}_creation();

-- The items whose period has begun between these times. One that was opened by an edit since then was told.
create or replace function sugang.publish_{kind}_openings(p_since timestamptz, p_until timestamptz) returns void
language sql as $$
    select sugang.publish_item('{kind}', i.id, 'opened') from {items} i
    where i.start_at > p_since and i.start_at <= p_until and i.end_at >= p_until and not i.hidden
      and not exists (select from sugang.outbox
                      where type = 'item.opened' and subject = '{kind} item' and subject_id = i.id
                        and at >= i.start_at)
    order by i.start_at, i.id
$$;

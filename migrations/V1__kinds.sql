-- Exams and courses are one thing described twice. What is to exist for each of them (tables, indexes, triggers,
-- functions) is written once, as a named template, and a kind is one row of sugang.kinds. Templates are kept, so that a
-- third kind is one call of sugang.add_kind in a later migration, and nothing else in this folder.
--
-- Why templates and not one function with dynamic SQL: the statements of a plpgsql function keep their plans for the
-- session only when their text is static, and planning would cost more than most of these statements do.

create schema if not exists sugang;

create table sugang.kinds (
    kind            text primary key,      -- the name in payments.payment_type, in function names and in the API
    items           text not null unique,  -- the table of what one registers for
    registrations   text not null unique,  -- the table of who registered
    item_id         text not null,         -- its column for the item
    registered_at   text not null,         -- its column for the time of the registration
    active          text not null,         -- its status of a registration that is neither completed nor cancelled
    item_index      text not null,         -- the prefix of the index names of the items
    registration_index text not null,      -- the prefix of the index names of the registrations
    content_type_id integer                -- the row of django_content_type; filled when the kind is added
);

create table sugang.templates (
    position integer generated always as identity primary key,
    name     text not null unique,
    body     text not null
);

-- Runs a template for one kind: {column} stands for that column of the kind's row.
create procedure sugang.expand(p_kind sugang.kinds, p_body text) language plpgsql as $$
declare
    field record;
begin
    for field in select * from jsonb_each_text(to_jsonb(p_kind)) loop
        p_body := replace(p_body, '{' || field.key || '}', coalesce(field.value, ''));
    end loop;
    execute p_body;
end $$;

-- Keeps a template (or its new text) and runs it for every kind there is.
create procedure sugang.define(p_name text, p_body text) language plpgsql as $$
declare
    description sugang.kinds;
begin
    insert into sugang.templates (name, body) values (p_name, p_body)
        on conflict (name) do update set body = excluded.body;
    for description in select * from sugang.kinds order by kind loop
        call sugang.expand(description, p_body);
    end loop;
end $$;

-- Adds a kind: its content type, then every template in the order in which they were defined.
create procedure sugang.add_kind(p_kind sugang.kinds) language plpgsql as $$
declare
    template record;
begin
    insert into django_content_type (app_label, model) values (p_kind.items, p_kind.kind)
        on conflict (app_label, model) do nothing;
    select id into p_kind.content_type_id
        from django_content_type where app_label = p_kind.items and model = p_kind.kind;
    insert into sugang.kinds select p_kind.*;
    for template in select body from sugang.templates order by position loop
        call sugang.expand(p_kind, template.body);
    end loop;
end $$;

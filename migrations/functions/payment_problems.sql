-- What is wrong with the fields for an item of this price, as [[field, problem], ...]; null when nothing is. A free
-- item needs neither field; an item that does not exist is treated like one with a price.
create or replace function sugang.payment_problems(p_price numeric, p_amount numeric, p_method text)
returns text language sql immutable as $$
    select json_agg(json_build_array(field, problem))::text from (values
        ('amount', case when p_price = 0 then null when p_amount is null then 'required'
                        when p_amount = 0 then 'not_positive' end),
        ('payment_method', case when p_price = 0 then case when p_method <> 'free' then 'invalid_choice' end
                                when p_method is null then 'required'
                                when p_method = 'free' then 'invalid_choice' end)) p (field, problem)
    where problem is not null
$$;

-- The catalogue of one kind: the parts of its texts, and the functions that write its rows.

-- How often a word occurs: a level or a year in 20 to 25 % of the rows, a field (such as 디자인) in 10 %, a region in 6 %,
-- a subject (such as 통계학) in 1 %, a teacher in 0.25 %, 고문서학 in one row of 20,000, 산스크리트어 in six of a million.
do $$
declare
    exam boolean := '{kind}' = 'test';
    teachers text := (select string_agg(family || given, '|' order by family, given) from
        unnest('{김,이,박,최,정,강,조,윤,장,임,한,오,서,신,권,황,안,송,전,홍}'::text[]) family,
        unnest('{민준,서준,도윤,예준,시우,하준,지호,주원,지후,준우,서연,서윤,지우,서현,민서,하은,하윤,윤서,지민,채원}'::text[])
            given);
begin
    perform pg_temp.add_part('{kind}', 'edition', 'A',
        '2024년|2025년|2026년|2027년',
        '제1회|제2회|제3회|제4회|제5회|제6회|제7회|제8회|제9회|제10회|제11회|제12회',
        '서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충북|충남|전북|전남|경북|경남|제주');
    perform pg_temp.add_part('{kind}', 'subject', 'A',
        '정보처리기사|빅데이터분석기사|전기기사|건축기사|산업안전기사|토목기사|한식조리기능사|제과기능사|미용사|공인중개사|'
        '세무사|회계관리|전산세무|재경관리사|유통관리사|물류관리사|사회복지사|요양보호사|청소년상담사|직업상담사|'
        '한국사능력검정|한자급수|국어능력인증|토익|토플|오픽|텝스|일본어능력|중국어능력|독일어능력|프랑스어능력|스페인어능력|'
        '러스트프로그래밍|파이썬프로그래밍|자바프로그래밍|웹개발|클라우드실무|네트워크관리|정보보안|데이터베이스|'
        '기계학습|통계학|미적분학|선형대수|물리학|화학|생명과학|지구과학|경제학|경영학|심리학|철학|미술사|서양음악사|'
        '피아노|기타연주|수채화|사진촬영|영상편집|시각디자인|제품디자인|도예|목공|바리스타|소믈리에|제빵|한국무용|'
        '요가지도|필라테스지도|수영지도',
        '입문|초급|중급|고급|심화',
        case when exam then '모의시험|자격시험|인증시험|정기평가' else '온라인강의|주말특강|실습과정|집중반' end);
    perform pg_temp.add_part('{kind}', 'uncommon', 'A', '고문서학');
    perform pg_temp.add_part('{kind}', 'rare', 'A', '산스크리트어');
    perform pg_temp.add_part('{kind}', 'about', 'B',
        '어학|정보기술|디자인|경영|과학|예술|보건|건설|요리|체육', '분야',
        '직장인|대학생|취업준비생|청소년|성인', '대상', '기초|실무|실전|단기완성',
        case when exam then '시험입니다.' else '과정입니다.' end);
    perform pg_temp.add_part('{kind}', 'teacher', 'B',
        case when exam then '출제위원' else '강사' end, teachers,
        '이론|기출|실습', '위주.');
    insert into subjects
        select kind, part, number, syllable,
               format('''%s_%s'':1A', syllable, left(words, 1))::tsvector || lexemes
        from parts cross join (select distinct right(words, 1) as syllable from parts where part = 'edition') e
        where kind = '{kind}' and part in ('subject', 'rare', 'uncommon');
end $$;
analyze parts, subjects;

-- Disables the triggers and drops the indexes that enforce nothing, since both make many rows slow. Returns
-- the statements that make up for it afterwards.
create function pg_temp.begin_{kind}() returns setof text language plpgsql as $$
declare
    trigger name;
    index record;
begin
    lock {items} in access exclusive mode;
    for trigger in select tgname from pg_trigger
            where tgrelid = '{items}'::regclass and not tgisinternal and tgenabled = 'O' loop
        execute format('alter table {items} disable trigger %I', trigger);
        return next format('alter table {items} enable trigger %I', trigger);
    end loop;
    return next format('select sugang.add_to_bucket_counts(''{kind}'', array_agg(1), array_agg(created_at),
            array_agg(start_at), array_agg(end_at)) from {items} where id > %s having count(*) > 0',
        (select coalesce(max(id), 0) from {items}));
    return next format('select pg_temp.search_{kind}(%s, %s)', (select count(*) from {items}),
                       (select coalesce(max(id), 0) from {items}));
    return next 'delete from sugang.search_counts where kind = ''{kind}''';
    return next 'delete from sugang.search_bitmap_sets where kind = ''{kind}''';
    for index in select indexrelid, pg_get_indexdef(indexrelid) as definition from pg_index
            where indrelid in ('{items}'::regclass, 'sugang.{kind}_search'::regclass)
              and not indisunique and not indisexclusion
            order by indexrelid loop
        execute format('drop index %s', index.indexrelid::regclass);
        return next index.definition;
    end loop;
end $$;

-- Writes rows p_from to p_to.
create function pg_temp.items_{kind}(p_from bigint, p_to bigint, p_today timestamptz) returns void
language plpgsql set plan_cache_mode = force_custom_plan as $$
declare
    editions integer := (select count(*) from parts where kind = '{kind}' and part = 'edition');
    subjects integer := (select count(*) from parts where kind = '{kind}' and part = 'subject');
    abouts   integer := (select count(*) from parts where kind = '{kind}' and part = 'about');
    teachers integer := (select count(*) from parts where kind = '{kind}' and part = 'teacher');
begin
    insert into {items} (title, description, price, start_at, end_at, created_at, updated_at, search_vector,
                         capacity)
    select e.words || ' ' || s.words, a.words || ' ' || t.words,
           case when '{kind}' = 'test' then 15000 + 1000 * pg_temp.pick(n, 5, 85)
                else 49000 + 5000 * pg_temp.pick(n, 5, 150) end,
           period.start_at, least(period.start_at + pg_temp.pick(n, 7, 3000) * interval '10 minutes',
                                  p_today + interval '30 days'),
           created.at, created.at, e.vector || s.vector || a.vector || t.vector,
           case pg_temp.pick(n, 8, 10) when 1 then (array[20, 30, 50, 100, 300])[pg_temp.pick(n, 9, 5)] end
    from generate_series(p_from, p_to) n
    join parts e on e.kind = '{kind}' and e.part = 'edition' and e.number = pg_temp.pick(n, 1, editions)
    cross join lateral (select case when rtrim(n::text, '0') = '7' then 'rare'
                                    when n % 20000 = 19999 then 'uncommon' end as seldom) word
    join parts s on s.kind = '{kind}' and s.part = coalesce(seldom, 'subject')
        and s.number = case when seldom is null then pg_temp.pick(n, 2, subjects) else 1 end
    join parts a on a.kind = '{kind}' and a.part = 'about' and a.number = pg_temp.pick(n, 3, abouts)
    join parts t on t.kind = '{kind}' and t.part = 'teacher' and t.number = pg_temp.pick(n, 4, teachers)
    cross join lateral (select p_today - interval '30 days'
                               + (pg_temp.pick(n, 6, 7920) - 1) * interval '10 minutes' as start_at) period
    -- Two years in 2^24 stretches, one for each of as many rows, and a microsecond within.
    cross join lateral (select p_today - ((n * 10368889) & 16777215) * interval '3.759 seconds'
                               - (pg_temp.pick(n, 10, 3758999)) * interval '1 microsecond' as at) created
    order by n;
end $$;

-- Writes what a search reads of the items behind p_id, which are rows p_before + 1 and so on.
create function pg_temp.search_{kind}(p_before bigint, p_id bigint) returns void
language plpgsql set plan_cache_mode = force_custom_plan as $$
declare
    editions integer := (select count(*) from parts where kind = '{kind}' and part = 'edition');
    subjects integer := (select count(*) from parts where kind = '{kind}' and part = 'subject');
    abouts   integer := (select count(*) from parts where kind = '{kind}' and part = 'about');
    teachers integer := (select count(*) from parts where kind = '{kind}' and part = 'teacher');
begin
    alter table sugang.{kind}_search disable trigger user;
    insert into sugang.{kind}_search (item_id, created_at, search_vector)
    select i.id, i.created_at,
           e.lexemes || s.lexemes || a.lexemes || t.lexemes
    from (select id, created_at, n, case when rtrim(n::text, '0') = '7' then 'rare'
                                                           when n % 20000 = 19999 then 'uncommon' end as seldom
          from (select id, created_at, p_before + row_number() over (order by id) as n
                from {items} where id > p_id) numbered
          -- Narrow rows are sorted, and the joins keep their order.
          order by created_at offset 0) i
    join parts e on e.kind = '{kind}' and e.part = 'edition' and e.number = pg_temp.pick(n, 1, editions)
    join subjects s on s.kind = '{kind}' and s.part = coalesce(seldom, 'subject') and s.syllable = right(e.words, 1)
        and s.number = case when seldom is null then pg_temp.pick(n, 2, subjects) else 1 end
    join parts a on a.kind = '{kind}' and a.part = 'about' and a.number = pg_temp.pick(n, 3, abouts)
    join parts t on t.kind = '{kind}' and t.part = 'teacher' and t.number = pg_temp.pick(n, 4, teachers);
    alter table sugang.{kind}_search enable trigger user;
end $$;

-- Lets the users of these addresses register p_wanted times for items whose period had begun before today,
-- as the service does it: the same triggers write counts and history. All users choose among the same few items
-- first, so that some become much more popular than the rest. Of a hundred, 12 are completed later, 12
-- cancelled, and 6 cancelled and taken up again.
create function pg_temp.registrations_{kind}(p_users text[], p_wanted bigint, p_today timestamptz)
returns bigint language plpgsql set plan_cache_mode = force_custom_plan as $$
begin
    create temporary table seats on commit drop as
    with candidates as (
        select id, title, price, start_at, least(end_at, p_today) as until, capacity,
               row_number() over (order by hashint8extended(id, 20)) - 1 as rank, count(*) over () as n
        from {items} where start_at < p_today and end_at > start_at
    ), customers as (
        select id, row_number() over (order by id) - 1 as rank, count(*) over () as n
        from users where email = any (p_users)
    ), wanted as (
        -- The ranks of one user grow strictly, so no user meets an item twice.
        select u.id as user_id, j * u.n + u.rank as number,
               j + floor((c.n - share.n) * ((j + pg_temp.fraction(u.id, 21)) / share.n) ^ 4)::bigint as rank
        from customers u cross join (select n from candidates limit 1) c
        cross join lateral (select least((p_wanted + u.n - 1) / u.n, c.n) as n) share
        cross join lateral generate_series(0, share.n - 1) j
    )
    select number, user_id, c.id as item_id, title, price, until, capacity,
           start_at + pg_temp.fraction(number, 22) * (until - start_at) as registered_at,
           (array['kakaopay', 'card', 'bank_transfer'])[pg_temp.pick(number, 23, 3)] as method,
           pg_temp.pick(number, 24, 100) as fate, null::bigint as registration_id
    from wanted join candidates c using (rank) where number < p_wanted;
    analyze seats;
    -- More may take a seat than stay.
    update {items} i set capacity = null from seats s where i.id = s.item_id and s.capacity is not null;

    insert into {registrations} (user_id, {item_id}, {registered_at})
        select user_id, item_id, registered_at from seats order by registered_at, number;
    update seats s set registration_id = r.id
        from {registrations} r where r.user_id = s.user_id and r.{item_id} = s.item_id;
    insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method,
                          external_transaction_id, paid_at, search_vector,
                          target_title, registration_id, registration_time)
        select user_id, '{kind}', (select content_type_id from sugang.kinds where kind = '{kind}'),
               item_id, price, method,
               'sugang_seed_{kind}_' || registration_id, registered_at, to_tsvector('simple', title),
               title, registration_id, registered_at
        from seats order by registered_at, number;

    update {registrations} r
        set status = 'completed',
            completed_at = registered_at + pg_temp.fraction(number, 25) * (p_today - registered_at)
        from seats s where r.id = registration_id and fate between 71 and 82;

    update {registrations} r
        set status = 'cancelled',
            cancelled_at = registered_at + pg_temp.fraction(number, 26) * (until - registered_at)
        from seats s where r.id = registration_id and fate > 82;
    update payments p set status = 'cancelled', cancelled_at = r.cancelled_at, refund_reason = '일정이 맞지 않아요'
        from seats s join {registrations} r on r.id = s.registration_id
        where external_transaction_id = 'sugang_seed_{kind}_' || s.registration_id and fate > 82;

    update {registrations} r
        set status = '{active}', {registered_at} = cancelled_at + 0.5 * (s.until - cancelled_at), cancelled_at = null
        from seats s where r.id = registration_id and fate > 94;
    insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method,
                          external_transaction_id, paid_at, search_vector,
                          target_title, registration_id, registration_time)
        select s.user_id, '{kind}', (select content_type_id from sugang.kinds where kind = '{kind}'),
               item_id, price, method,
               'sugang_seed_{kind}_' || registration_id || '_again', r.{registered_at},
               to_tsvector('simple', title), title, registration_id, r.{registered_at}
        from seats s join {registrations} r on r.id = s.registration_id where fate > 94
        order by r.{registered_at}, number;

    update {items} i set capacity = greatest(s.capacity, i.registration_count)
        from (select distinct item_id, capacity from seats where capacity is not null) s where i.id = s.item_id;
    return (select count(*) from seats);
end $$;

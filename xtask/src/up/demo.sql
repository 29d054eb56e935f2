-- What `cargo xtask up` shows: three dozen exams and two dozen courses, all open now. Only into empty tables.
with subjects (n, exam, course, price) as (values
    (1, '정보처리기사 필기', '정보처리기사 한 번에 끝내기', 45000), (2, '한국사능력검정 심화', '이야기로 배우는 한국사', 27000),
    (3, '토익 정기시험', '토익 850 집중반', 48000), (4, '컴퓨터활용능력 1급', '엑셀 실무 첫걸음', 38000),
    (5, 'SQL 개발자', '데이터베이스와 SQL', 50000), (6, '전기기사 필기', '전기이론 기초', 42000),
    (7, '간호조무사 국가시험', '기초 간호학', 38000), (8, '공인중개사 1차', '부동산학 개론', 28000),
    (9, '사회복지사 1급', '사회복지정책론', 25000), (10, '일본어능력 N2', '일본어 회화 중급', 55000),
    (11, '빅데이터분석기사', '파이썬 데이터 분석', 39000), (12, '리눅스마스터 2급', '리눅스 서버 운영', 33000)
), rounds (r, name) as (values (1, '제1회'), (2, '제2회'), (3, '제3회')),
exams as (
    insert into tests (title, description, price, start_at, end_at, created_at)
        select format('2026년 %s %s', name, exam), format('%s 과목의 %s 시험입니다. 접수 기간 안에 신청해 주세요.', exam, name),
               price, now() - interval '1 day', now() + interval '1 year', now() - make_interval(hours => n * 3 + r)
        from subjects, rounds where not exists (select from tests) order by r, n
)
insert into courses (title, description, price, start_at, end_at, capacity, created_at)
    select format('%s (%s기)', course, r), format('%s 온라인 수업 %s기입니다. 언제든지 들을 수 있습니다.', course, r),
           price * 2, now() - interval '1 day', now() + interval '1 year', case when n % 4 = 0 then 30 end,
           now() - make_interval(hours => n * 3 + r)
    from subjects, rounds where r <= 2 and not exists (select from courses) order by r, n

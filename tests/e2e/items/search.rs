//! What a search finds: parts of words, as people type them.

use std::fmt::Write;

use rstest::rstest;
use sugang_tests::{App, COURSE, EXAM, Kind, User};

use super::list::titles;
use crate::storm::assert_audit;

/// The titles that a search finds, in the order of the list.
async fn found(app: &App, kind: Kind, user: &User, search: &str) -> Vec<String> {
    let query = url::form_urlencoded::byte_serialize(search.as_bytes()).collect::<String>();
    let answer = app.get(format!("{}?search={query}", kind.path)).by(user).await;
    let titles = titles(&answer);
    assert_eq!(answer.json()["count"], titles.len(), "{search:?}: {answer:?}");
    titles.into_iter().map(ToOwned::to_owned).collect()
}

/// Adds items with these titles and descriptions; the first one is the newest.
async fn add(app: &App, kind: Kind, items: &[(&str, Option<&str>)]) {
    let (titles, descriptions): (Vec<&str>, Vec<Option<&str>>) = items.iter().copied().unzip();
    let insert = format!(
        "insert into {} (title, description, price, start_at, end_at, created_at)
         select title, description, 45000, '2020-01-01', '2099-12-31', '2026-01-01'::timestamptz - n * interval '1 day'
         from unnest($1::text[], $2::text[]) with ordinality i (title, description, n)",
        kind.items
    );
    app.run(&insert, &[&titles, &descriptions]).await;
}

/// Every line of the issue, and its siblings.
#[rstest]
#[tokio::test]
async fn a_search_finds_parts_of_words(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let all = [
        ("정보처리기사 필기", Some("객관식 시험")),
        ("수학을 위한 파이썬", None),
        ("Node.js 입문", None),
        ("Django를 배우자", None),
        ("수학의 정석", None),
        ("파이썬 3 기초", None),
        ("C++17 심화", None),
        ("C#과 .NET", None),
        ("CompTIA A+ 대비", None),
        ("3D프린터운용기능사", None),
        ("2024년 제1회 토익", None),
        ("2024년 제10회 토익", None),
        ("SQL개발자(SQLD)", None),
        ("국어ㆍ영어·한국사", None),
        ("Ｗｅｂ 개발 Ⅱ", None),
        ("\u{110c}\u{1165}\u{11ab}\u{1100}\u{1175} 공사", None), // 전기, as macOS types it
        ("책 읽는 공책", None),
        ("漢字급수 시험", None),
        ("JavaScript", None),
        ("Java", None),
    ];
    add(&app, kind, &all).await;
    let mut table = String::new();
    for search in [
        // Parts of Hangul words, at the beginning, in the middle and at the end.
        "정보",
        "기사",
        "보처리",
        "정보처리기사",
        "수학",
        "수학의",
        "관식",
        "토목",
        // Beginnings of Latin words and of numbers, and no other parts.
        "node",
        "NOD",
        "ode",
        "django",
        "202",
        "024",
        "java",
        "script",
        // Borders between scripts.
        "배우자",
        "Django를",
        "node.js",
        "js",
        "파이썬3",
        "3d",
        "3D프린터",
        "프린터",
        "개발자",
        "SQL개발자",
        "sqld",
        "2024년",
        "제1회",
        "net",
        ".NET",
        // Letters with a sign.
        "c++",
        "C++17",
        "c#",
        "C",
        "a+",
        // Other separators, and other ways to write the same.
        "영어",
        "한국사",
        "web",
        "ｗｅｂ",
        "Ⅱ",
        "급수",
        "漢字",
        // A syllable alone is a word, and no part of one.
        "책",
        "년",
        // Blanks that are left out, from four syllables on; no part reaches from one word into the next otherwise.
        "정보처리기사필기",
        "처리기사필",
        "사필기",
        "사필",
        "수학을위한파이썬",
        // "phrase", or, -not.
        "\"정보처리기사 필기\"",
        "“처리기사 필기”",
        "\"정보 필기\"",
        "\"필기 정보처리기사\"",
        "\"java\"",
        "\"node js\"",
        "수학 -정석",
        "수학 -정석 or 필기",
        "기사 OR 토익",
        "토익 -\"제1회\"",
        "파이 -위한",
        "정보 토익",
        // Nothing to look for, and unbalanced signs.
        "\"정보",
        "정보\"",
        "-",
        "- -",
        "·",
        "정보 -",
        "정보 or",
        "정보:*",
        "정보 & 처리",
        "ㅋㅋ",
    ] {
        writeln!(
            table,
            "{search}: {}",
            found(&app, kind, &minsu, search).await.join(" / ")
        )
        .unwrap();
    }
    insta::allow_duplicates! { insta::assert_snapshot!(table, @r#"
    정보: 정보처리기사 필기
    기사: 정보처리기사 필기
    보처리: 정보처리기사 필기
    정보처리기사: 정보처리기사 필기
    수학: 수학을 위한 파이썬 / 수학의 정석
    수학의: 수학의 정석
    관식: 정보처리기사 필기
    토목: 
    node: Node.js 입문
    NOD: Node.js 입문
    ode: 
    django: Django를 배우자
    202: 2024년 제1회 토익 / 2024년 제10회 토익
    024: 
    java: JavaScript / Java
    script: 
    배우자: Django를 배우자
    Django를: Django를 배우자
    node.js: Node.js 입문
    js: Node.js 입문
    파이썬3: 파이썬 3 기초
    3d: 3D프린터운용기능사
    3D프린터: 3D프린터운용기능사
    프린터: 3D프린터운용기능사
    개발자: SQL개발자(SQLD)
    SQL개발자: SQL개발자(SQLD)
    sqld: SQL개발자(SQLD)
    2024년: 2024년 제1회 토익 / 2024년 제10회 토익
    제1회: 2024년 제1회 토익
    net: C#과 .NET
    .NET: C#과 .NET
    c++: C++17 심화
    C++17: C++17 심화
    c#: C#과 .NET
    C: C++17 심화 / C#과 .NET / CompTIA A+ 대비
    a+: CompTIA A+ 대비
    영어: 국어ㆍ영어·한국사
    한국사: 국어ㆍ영어·한국사
    web: Ｗｅｂ 개발 Ⅱ
    ｗｅｂ: Ｗｅｂ 개발 Ⅱ
    Ⅱ: Ｗｅｂ 개발 Ⅱ
    급수: 漢字급수 시험
    漢字: 漢字급수 시험
    책: 책 읽는 공책
    년: 2024년 제1회 토익 / 2024년 제10회 토익
    정보처리기사필기: 정보처리기사 필기
    처리기사필: 정보처리기사 필기
    사필기: 
    사필: 
    수학을위한파이썬: 수학을 위한 파이썬
    "정보처리기사 필기": 정보처리기사 필기
    “처리기사 필기”: 정보처리기사 필기
    "정보 필기": 
    "필기 정보처리기사": 
    "java": Java
    "node js": Node.js 입문
    수학 -정석: 수학을 위한 파이썬
    수학 -정석 or 필기: 정보처리기사 필기 / 수학을 위한 파이썬
    기사 OR 토익: 정보처리기사 필기 / 2024년 제1회 토익 / 2024년 제10회 토익
    토익 -"제1회": 2024년 제10회 토익
    파이 -위한: 파이썬 3 기초
    정보 토익: 
    "정보: 정보처리기사 필기
    정보": 정보처리기사 필기
    -: 
    - -: 
    ·: 
    정보 -: 정보처리기사 필기
    정보 or: 
    정보:*: 정보처리기사 필기
    정보 & 처리: 정보처리기사 필기
    ㅋㅋ: 
    "#) }
    for search in ["전기", "\u{110c}\u{1165}\u{11ab}\u{1100}\u{1175}"] {
        let title = "\u{110c}\u{1165}\u{11ab}\u{1100}\u{1175} 공사";
        assert_eq!(found(&app, kind, &minsu, search).await, [title]);
    }
}

/// No text is too long for the database, whatever it consists of.
#[rstest]
#[tokio::test]
async fn any_text_can_be_stored_and_searched(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let syllables: String = ('가'..='힣').cycle().take(300_000).collect();
    let letters = "a".repeat(300_000);
    let words: String = (0..40_000).map(|n| format!("word{n} ")).collect();
    let emoji = "😀".repeat(1_000);
    // A tsvector of all its words would be too long.
    let book: String = (0..100_000).map(|n| format!("book{n:012} ")).collect();
    // Letters of four bytes, and each word a second time as a part of another one.
    let han: String = ('\u{20000}'..'\u{2a000}')
        .zip(0..)
        .flat_map(|(letter, n)| [letter, letter, if n % 20 == 0 { ' ' } else { '-' }])
        .collect();
    for text in [
        &*syllables,
        &letters,
        &words,
        &emoji,
        &book,
        &han,
        "\u{1}\t\u{ad}\u{200b}",
    ] {
        add(&app, kind, &[("long", Some(text))]).await;
    }
    for (search, n) in [
        ("long", 7),
        ("가각갂", 1),
        ("aaa", 1),
        ("word5", 1),
        ("book000000000005", 1),
        ("😀", 0),
    ] {
        assert_eq!(found(&app, kind, &minsu, search).await.len(), n, "{search}");
    }
    let search: String = ('가'..='힣').step_by(31).take(300).collect();
    for search in [&*search, &"b".repeat(300), &"1 a 가나 -".repeat(100), &"\"".repeat(300)] {
        assert_eq!(found(&app, kind, &minsu, search).await, [""; 0], "{search}");
    }
    assert_audit(&app).await;
}

/// One syllable, or one run of letters or digits.
#[derive(Clone, PartialEq, Eq)]
struct Unit {
    text: String,
    is_syllable: bool,
    /// Whether a syllable continues the run of the one before it.
    continues: bool,
}

fn units(text: &str) -> Vec<Unit> {
    let class = |char: char| match char {
        '가'..='힣' => 1,
        '0'..='9' => 2,
        'a'..='z' => 3,
        _ => 0,
    };
    let (mut units, mut before) = (Vec::<Unit>::new(), 0);
    for char in text.chars() {
        let now = class(char);
        match units.last_mut() {
            Some(last) if now == before && now > 1 => last.text.push(char),
            _ if now > 0 => units.push(Unit {
                text: char.to_string(),
                is_syllable: now == 1,
                continues: now == 1 && before == 1,
            }),
            _ => {}
        }
        before = now;
    }
    units
}

/// Whether a word or a quoted phrase stands in a text. Written from the description in the guarantees, in another way than
/// the database does it.
fn stands_in(term: &str, is_quoted: bool, text: &[Unit], is_title: bool) -> bool {
    let term = units(term);
    let run_length = |position: usize| {
        let starts = (0..=position).rev().find(|&start| !term[start].continues).unwrap();
        1 + term[starts + 1..].iter().take_while(|unit| unit.continues).count()
    };
    let is_alone =
        |text: &[Unit], at: usize| !text[at].continues && !text.get(at + 1).is_some_and(|next| next.continues);
    let fits = |start: usize| {
        term.iter().enumerate().all(|(n, unit)| {
            let Some(there) = text.get(start + n) else { return false };
            let is_last = n + 1 == term.len();
            match (unit.is_syllable, there.is_syllable) {
                (true, true) if run_length(n) > 1 => {
                    let may_cross = is_title && !is_quoted && run_length(n) > 3;
                    unit.text == there.text && (!unit.continues || there.continues || may_cross)
                }
                (true, true) if is_last && n > 0 && !is_quoted => unit.text == there.text,
                (true, true) => unit.text == there.text && is_alone(text, start + n),
                (false, false) if is_last && !is_quoted => there.text.starts_with(&unit.text),
                (false, false) => unit.text == there.text,
                _ => false,
            }
        })
    };
    (0..text.len()).any(fits)
}

/// Random texts of few syllables, letters and digits, so that much is found: the database finds what the test does.
#[rstest]
#[tokio::test]
async fn random_searches_find_what_a_plain_comparison_finds(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let word = |random: &mut fastrand::Rng| -> String {
        let runs = random.usize(1..=2);
        let first = random.usize(0..3);
        let run = |random: &mut fastrand::Rng, class: usize| -> String {
            let (alphabet, longest) = [(['가', '나', '다'], 5), (['a', 'b', 'a'], 2), (['1', '2', '1'], 2)][class];
            let length = random.usize(1..=longest);
            (0..length).map(|_| random.choice(alphabet).unwrap()).collect()
        };
        (0..runs).map(|n| run(random, (first + n) % 3)).collect()
    };
    let text = |random: &mut fastrand::Rng, words: usize| -> String {
        let separator = |random: &mut fastrand::Rng| *random.choice(&[" ", " ", ", ", "-", " · "]).unwrap();
        (0..words).map(|_| word(random) + separator(random)).collect()
    };
    let items: Vec<(String, String)> = (0..20)
        .map(|n| {
            let (title, description) = (random.usize(1..=4), random.usize(0..=4));
            (
                format!("{} z{n:02}", text(&mut random, title)),
                text(&mut random, description),
            )
        })
        .collect();
    let rows: Vec<_> = items.iter().map(|(title, text)| (&**title, Some(&**text))).collect();
    add(&app, kind, &rows).await;

    let mut sizes = [0; 21];
    for _ in 0..250 {
        // Alternatives of conjunctions of terms, which may be negated and quoted.
        let mut alternatives = Vec::new();
        for _ in 0..random.usize(1..=2) {
            let terms = (0..random.usize(1..=2)).map(|_| {
                let is_quoted = random.u8(0..4) == 0;
                let term = match is_quoted {
                    true => word(&mut random) + " " + &word(&mut random),
                    false => word(&mut random),
                };
                (random.u8(0..4) == 0, is_quoted, term)
            });
            alternatives.push(terms.collect::<Vec<_>>());
        }
        let search = alternatives.iter().map(|terms| {
            let terms = terms.iter().map(|(is_negated, is_quoted, term)| {
                let (sign, quote) = (if *is_negated { "-" } else { "" }, if *is_quoted { "\"" } else { "" });
                format!("{sign}{quote}{term}{quote}")
            });
            terms.collect::<Vec<_>>().join(" ")
        });
        let search = search.collect::<Vec<_>>().join(" or ");
        let matches = |(title, description): &&(String, String)| {
            let (title, description) = (units(title), units(description));
            alternatives.iter().any(|terms| {
                terms.iter().all(|(is_negated, is_quoted, term)| {
                    let stands =
                        stands_in(term, *is_quoted, &title, true) || stands_in(term, *is_quoted, &description, false);
                    stands != *is_negated
                })
            })
        };
        let expected: Vec<_> = items.iter().filter(matches).map(|(title, _)| title.clone()).collect();
        let got = found(&app, kind, &minsu, &search).await;
        assert_eq!(got, expected, "{search:?}, seed {seed}, in {items:#?}");
        sizes[got.len()] += 1;
    }
    let some: usize = sizes[1..20].iter().sum();
    assert!(sizes[0] > 0 && some > 50, "most searches tell nothing: {sizes:?}");
}

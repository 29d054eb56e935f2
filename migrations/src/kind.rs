//! What a user can register for, as the database sees it.

/// One kind of item: the names of its tables and columns.
///
/// A file, or an audit check, with a placeholder such as `{items}` runs once for each kind, and the placeholder stands
/// for the field of that name. Templates rather than dynamic SQL: PostgreSQL keeps the plans of a function for the
/// session only when its statements are static text, and planning costs more than most of these statements do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemKind {
    /// The name in `payments.payment_type`, in `sugang.kinds`, in function names and in the API.
    pub kind: &'static str,
    /// The table of the items.
    pub items: &'static str,
    /// The table of the registrations.
    pub registrations: &'static str,
    /// The column of the registrations that refers to the item.
    pub item_id: &'static str,
    /// The column of the registrations with the time of the registration.
    pub registered_at: &'static str,
    /// The status of a registration that is neither completed nor cancelled.
    pub active: &'static str,
    /// The prefix of the item indexes that the Django service named.
    pub item_index: &'static str,
    /// The prefix of the registration indexes that the Django service named.
    pub registration_index: &'static str,
}

/// A name with the kind, if it is of one, for messages.
pub(crate) fn label(name: &str, kind: Option<&str>) -> String {
    kind.map_or_else(|| name.to_owned(), |kind| format!("{name} ({kind})"))
}

/// The kinds of this service.
pub const KINDS: &[ItemKind] = &[
    ItemKind {
        kind: "course",
        items: "courses",
        registrations: "course_registrations",
        item_id: "course_id",
        registered_at: "enrolled_at",
        active: "enrolled",
        item_index: "course",
        registration_index: "course_reg",
    },
    ItemKind {
        kind: "test",
        items: "tests",
        registrations: "test_registrations",
        item_id: "test_id",
        registered_at: "applied_at",
        active: "applied",
        item_index: "test",
        registration_index: "test_reg",
    },
];

impl ItemKind {
    /// Fills the placeholders of a template.
    pub fn expand(&self, template: &str) -> String {
        let fill = |text: String, (placeholder, value): (&str, &str)| text.replace(placeholder, value);
        self.values().into_iter().fold(template.to_owned(), fill)
    }

    fn values(&self) -> [(&'static str, &'static str); 8] {
        [
            ("{kind}", self.kind),
            ("{items}", self.items),
            ("{registrations}", self.registrations),
            ("{item_id}", self.item_id),
            ("{registered_at}", self.registered_at),
            ("{active}", self.active),
            ("{item_index}", self.item_index),
            ("{registration_index}", self.registration_index),
        ]
    }
}

/// SQL for each kind when it has placeholders, and once for all kinds otherwise.
pub(crate) fn expand_all<'a>(sql: &str, kinds: &'a [ItemKind]) -> Vec<(Option<&'a ItemKind>, String)> {
    let expanded: Vec<_> = kinds.iter().map(|kind| (Some(kind), kind.expand(sql))).collect();
    if expanded.iter().all(|(_, text)| text == sql) {
        return vec![(None, sql.to_owned())];
    }
    expanded
}

//! The users, for an operator.

use super::{Error, Keyed, List, Request, Session, list::given};
use crate::types::{ManagedUser, UserDetails, UserId, UserRegistration};

/// Which users to list; by default all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// Only those whose e-mail address begins with this.
    pub email: Option<String>,
    /// Only those whose username begins with this.
    pub username: Option<String>,
}

impl UserFilter {
    fn query(&self) -> Vec<(&'static str, String)> {
        given([("email", self.email.clone()), ("username", self.username.clone())])
    }
}

/// The users of the service, for an operator.
#[derive(Debug, Clone)]
pub struct ManagedUsers(Session);

impl ManagedUsers {
    pub(super) fn new(session: Session) -> Self {
        Self(session)
    }

    /// Lists the users that match the filter, the latest first.
    pub fn list(&self, filter: &UserFilter) -> List<ManagedUser> {
        List::new(self.0.clone(), "api/operator/users/".to_owned(), filter.query())
    }

    /// Returns the users that match the filter as a CSV file, the latest first.
    ///
    /// # Errors
    /// Those of [`ManagedItems::export`](super::ManagedItems::export).
    pub async fn export(&self, filter: &UserFilter) -> Result<Vec<u8>, Error> {
        let request = Request::get("api/operator/users.csv", filter.query());
        Ok(self.0.receive(&request).await?.body)
    }

    /// Returns one user with the number of their payments and registrations.
    ///
    /// # Errors
    /// [`NotFound`](crate::types::ErrorCode::NotFound).
    pub async fn get(&self, id: UserId) -> Result<UserDetails, Error> {
        let path = format!("api/operator/users/{id}/");
        self.0.send(&Request::get(path, Vec::new())).await
    }

    /// Lists the registrations of one user for exams and courses, newest first. Their payments are in
    /// [`ManagedPayments::list`](super::ManagedPayments::list).
    pub fn registrations(&self, id: UserId) -> List<UserRegistration> {
        let path = format!("api/operator/users/{id}/registrations/");
        List::new(self.0.clone(), path, Vec::new())
    }

    /// Deactivates a user, who can then neither log in nor send requests.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `NotFound`, `OwnAccount`, and `NotSuperuser` if the user is an operator and
    /// the caller no superuser.
    pub fn deactivate(&self, id: UserId) -> Keyed<(), ManagedUser> {
        self.change(id, "deactivate")
    }

    /// Activates a user.
    ///
    /// # Errors
    /// Those of [`ManagedUsers::deactivate`], without `OwnAccount`.
    pub fn activate(&self, id: UserId) -> Keyed<(), ManagedUser> {
        self.change(id, "activate")
    }

    /// Ends all logins of a user.
    ///
    /// # Errors
    /// Those of [`ManagedUsers::activate`].
    pub fn end_logins(&self, id: UserId) -> Keyed<(), ManagedUser> {
        self.change(id, "logout")
    }

    fn change(&self, id: UserId, change: &str) -> Keyed<(), ManagedUser> {
        Keyed::new(self.0.clone(), format!("api/operator/users/{id}/{change}/"), ())
    }
}

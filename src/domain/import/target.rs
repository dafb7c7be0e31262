//! What the columns of a file fill, by the names that they or a mapping give it.

/// A field of a person that a column can fill.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// The person's id, as an export has it.
    Id,
    /// The same, by the name of its column alone: what is no id of a person, such as that of another
    /// program, goes to the attribute of this name.
    IdOrAttribute(String),
    /// The email address.
    Email,
    /// The phone number.
    Phone,
    /// The LinkedIn page.
    LinkedinUrl,
    /// The first name.
    FirstName,
    /// The last name.
    LastName,
    /// The company.
    Company,
    /// The title.
    Title,
    /// The time zone.
    TimeZone,
    /// The country, as a code of ISO 3166; what is none, such as a name, goes to the attribute
    /// `country`.
    Country,
    /// An attribute of this name.
    Attribute(String),
    /// All attributes as one JSON object, as an export has them; what is none goes to the attribute
    /// `attributes`.
    Attributes,
}

impl Target {
    /// The field by the name that a mapping has for it.
    pub(super) fn field(&self) -> String {
        let name = match self {
            Self::Id => "id",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::LinkedinUrl => "linkedinUrl",
            Self::FirstName => "firstName",
            Self::LastName => "lastName",
            Self::Company => "company",
            Self::Title => "title",
            Self::TimeZone => "timeZone",
            Self::Country => "country",
            Self::Attributes => "attributes",
            Self::IdOrAttribute(name) => name,
            Self::Attribute(name) => return format!("attributes.{name}"),
        };
        name.to_owned()
    }
}

/// A field by the name that a mapping gives it.
pub(super) fn named(field: &str) -> Option<Target> {
    if let Some(name) = field.strip_prefix("attributes.") {
        return (!name.trim().is_empty()).then(|| Target::Attribute(name.trim().to_owned()));
    }
    match recognised(field) {
        Target::Attribute(_) => None,
        Target::IdOrAttribute(_) => Some(Target::Id),
        target => Some(target),
    }
}

/// A field by the name that a column has; case, spaces and punctuation do not matter.
pub(super) fn recognised(header: &str) -> Target {
    let letters: String = header
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    match letters.as_str() {
        "id" | "personid" => Target::IdOrAttribute(header.to_owned()),
        "email" | "emailaddress" | "mail" | "workemail" => Target::Email,
        "phone" | "phonenumber" | "mobile" | "mobilephone" | "telephone" => Target::Phone,
        "linkedin" | "linkedinurl" | "linkedinprofile" | "linkedinprofileurl" => {
            Target::LinkedinUrl
        }
        "firstname" | "givenname" | "forename" => Target::FirstName,
        "lastname" | "surname" | "familyname" => Target::LastName,
        "company" | "companyname" | "organisation" | "organization" | "account" => Target::Company,
        "title" | "jobtitle" | "position" => Target::Title,
        "timezone" | "tz" => Target::TimeZone,
        "country" | "countrycode" => Target::Country,
        "attributes" => Target::Attributes,
        _ => Target::Attribute(header.to_owned()),
    }
}

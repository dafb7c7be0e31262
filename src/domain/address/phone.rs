//! Telephone numbers by the rules of libphonenumber: how they are written in each country, and
//! which are in use.
//!
//! The plans of the world's numbers come with the crate and age with it: a block of numbers that
//! was opened after its release is refused until the next one.

use std::fmt;
use std::str::FromStr;

use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, ParseError, PhoneNumberFormat, PhoneNumberType,
    ValidationError,
};
use strum::{Display, EnumString, IntoStaticStr};

/// Why a number was refused; each names the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    /// Nothing there.
    #[error("The phone number is empty: write one like +351912345678.")]
    Empty,
    /// No number.
    #[error("This is not a phone number: write one like +351912345678.")]
    Shape,
    /// No country is given, neither by the number nor by its surroundings.
    #[error("The phone number has no country: write it in international form, like +351912345678.")]
    NoCountry,
    /// No country has this code.
    #[error("The phone number begins with a code that no country has: correct what follows the +.")]
    UnknownCountry,
    /// Digits are missing.
    #[error("The phone number is too short for its country: add the missing digits.")]
    TooShort,
    /// There are too many digits.
    #[error("The phone number is too long for its country: remove what is not part of it.")]
    TooLong,
    /// Between two lengths that the country has.
    #[error("The phone number has a length that its country does not use: correct it.")]
    Length,
    /// The country has no such numbers.
    #[error(
        "The phone number is not one that its country gives out: check its digits, and the country's code after the +."
    )]
    NotInUse,
    /// It has an extension, which E.164 has no place for.
    #[error("A phone number is kept without an extension: leave it away.")]
    Extension,
}

/// A country or territory that has telephone numbers, by its code of two letters (ISO 3166-1
/// alpha-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region(rlibphonenumber::Region);

/// The text is no region's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a region is a code of two letters, like PT (ISO 3166-1 alpha-2)")]
pub struct UnknownRegion;

impl FromStr for Region {
    type Err = UnknownRegion;

    fn from_str(text: &str) -> Result<Self, UnknownRegion> {
        let region = text.parse().map_err(|_| UnknownRegion)?;
        let known = PHONE_NUMBER_UTIL.get_country_code_for_region(region);
        known.map(|_| Self(region)).ok_or(UnknownRegion)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a number is for, as far as its digits tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum PhoneKind {
    /// A line to a place.
    FixedLine,
    /// A mobile telephone.
    Mobile,
    /// One of the two: the country does not tell them apart.
    FixedLineOrMobile,
    /// Calls are free.
    TollFree,
    /// Calls cost more.
    PremiumRate,
    /// The cost is shared.
    SharedCost,
    /// Over the Internet.
    Voip,
    /// Follows its owner from place to place.
    PersonalNumber,
    /// A pager.
    Pager,
    /// One number of a company for many places.
    Uan,
    /// A mailbox for voice.
    Voicemail,
    /// None of the country's numbers.
    Unknown,
}

/// A number as it was read, right or wrong.
#[derive(Debug, Clone)]
pub struct PhoneReading(rlibphonenumber::PhoneNumber);

impl PhoneReading {
    /// Reads a number as people write it: with spaces, dots, dashes and brackets, with letters for
    /// digits, in any script's digits, or as a `tel:` address (RFC 3966). A number without a
    /// country is one of `default_region`.
    ///
    /// # Errors
    /// [`PhoneError`] where it cannot be read; what can be read may still not be a number that is
    /// in use.
    pub fn read(text: &str, default_region: Option<Region>) -> Result<Self, PhoneError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(PhoneError::Empty);
        }
        let region = default_region.map(|region| region.0);
        let read = PHONE_NUMBER_UTIL.parse(text, region).map(Self);
        read.map_err(|error| match error {
            ParseError::InvalidCountryCode if text.contains(['+', '\u{ff0b}']) => {
                PhoneError::UnknownCountry
            }
            ParseError::InvalidCountryCode => PhoneError::NoCountry,
            ParseError::NotANumber(_) => PhoneError::Shape,
            ParseError::TooShortAfterIdd | ParseError::TooShortNsn => PhoneError::TooShort,
            ParseError::TooLongNsn => PhoneError::TooLong,
        })
    }

    /// The number in E.164 form: `+351912345678`. An extension is no part of it.
    pub fn e164(&self) -> String {
        self.0.format_as(PhoneNumberFormat::E164).into_owned()
    }

    /// Whether its length is one that its country has.
    pub fn is_possible(&self) -> bool {
        PHONE_NUMBER_UTIL.is_possible_number(&self.0)
    }

    /// Whether it lies in a block of numbers that its country gives out.
    pub fn is_valid(&self) -> bool {
        self.0.is_valid()
    }

    /// The region that it is of; `None` where its country has no such numbers.
    pub fn region(&self) -> Option<Region> {
        self.0.get_region_code().map(Region)
    }

    /// What it is for.
    pub fn kind(&self) -> PhoneKind {
        match self.0.get_type() {
            PhoneNumberType::FixedLine => PhoneKind::FixedLine,
            PhoneNumberType::Mobile => PhoneKind::Mobile,
            PhoneNumberType::FixedLineOrMobile => PhoneKind::FixedLineOrMobile,
            PhoneNumberType::TollFree => PhoneKind::TollFree,
            PhoneNumberType::PremiumRate => PhoneKind::PremiumRate,
            PhoneNumberType::SharedCost => PhoneKind::SharedCost,
            PhoneNumberType::VoIP => PhoneKind::Voip,
            PhoneNumberType::PersonalNumber => PhoneKind::PersonalNumber,
            PhoneNumberType::Pager => PhoneKind::Pager,
            PhoneNumberType::UAN => PhoneKind::Uan,
            PhoneNumberType::VoiceMail => PhoneKind::Voicemail,
            PhoneNumberType::Unknown => PhoneKind::Unknown,
        }
    }

    /// The extension behind it.
    pub fn extension(&self) -> Option<&str> {
        self.0
            .extension
            .as_deref()
            .filter(|digits| !digits.is_empty())
    }

    /// What keeps it from being called from anywhere.
    fn problem(&self) -> Option<PhoneError> {
        match self.0.is_possible_with_reason() {
            Err(ValidationError::InvalidCountryCode) => Some(PhoneError::UnknownCountry),
            // A number that can be dialled in its town alone lacks the town's code.
            Err(ValidationError::TooShort) | Ok(NumberLengthType::IsPossibleLocalOnly) => {
                Some(PhoneError::TooShort)
            }
            Err(ValidationError::TooLong) => Some(PhoneError::TooLong),
            Err(ValidationError::InvalidLength) => Some(PhoneError::Length),
            Ok(NumberLengthType::IsPossible) if !self.is_valid() => Some(PhoneError::NotInUse),
            Ok(NumberLengthType::IsPossible) => {
                self.extension().is_some().then_some(PhoneError::Extension)
            }
        }
    }
}

/// A telephone number in E.164 form (ITU-T): a plus and up to fifteen digits, in a block that its
/// country gives out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Reads a number as [`PhoneReading::read`] does. Without a default region it must be in
    /// international form.
    ///
    /// # Errors
    /// [`PhoneError`] with what is wrong, also where the number cannot be in use.
    pub fn parse(text: &str, default_region: Option<Region>) -> Result<Self, PhoneError> {
        let reading = PhoneReading::read(text, default_region)?;
        match reading.problem() {
            Some(problem) => Err(problem),
            None => Ok(Self(reading.e164())),
        }
    }

    /// The number: `+351912345678`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests;

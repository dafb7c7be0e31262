//! The marks by which mail programs set off what they quote and add, in the languages they speak, as
//! facts. All words in small letters.

/// What begins with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// "On … Ana wrote:", over what Ana wrote.
    Wrote,
    /// "-----Original Message-----", with the head that may follow.
    Sender,
    /// "From: … Sent: … Subject: …", the head of a mail.
    Head,
}

/// Over how many lines the heading of a quotation is broken at most.
const HEADING_LINES: usize = 6;
/// How long such a heading is at most, in octets.
const HEADING_MAX: usize = 400;

/// "Wrote", in the headings of quotations.
const WROTE: &[&str] = &[
    "wrote",
    "schrieb",
    "a écrit",
    "escribió",
    "ha scritto",
    "escreveu",
    "schreef",
    "geschreven",
    "skrev",
    "skreiv",
    "napisał",
    "napsal",
    "napísal",
    "kirjoitti",
    "написал",
    "пишет",
    "пише",
    "写道",
    "寫道",
    "さんは書きました",
    "のメール",
    "님이 작성",
    "yazdı",
    "va escriure",
    "ha escrit",
    "írta",
    "a scris",
    "έγραψε",
    "je napisao",
    "je pisal",
    "menulis",
    "đã viết",
    "rašė",
];
/// What stands before the date in the headings of quotations.
const BEFORE_DATE: &[&str] = &[
    "on", "at", "am", "le", "el", "il", "em", "op", "den", "dnia", "w", "dne", "dňa", "în", "på",
    "vào", "pada", "στις",
];
/// What stands between the dashes over a mail that is quoted or forwarded whole.
const ORIGINAL: &[&str] = &[
    "original message",
    "original mail",
    "original email",
    "original e-mail",
    "originalmail",
    "mail original",
    "reply message",
    "forwarded message",
    "begin forwarded message",
    "forwarded mail",
    "originalnachricht",
    "original-nachricht",
    "ursprüngliche nachricht",
    "ursprungliche nachricht",
    "weitergeleitete nachricht",
    "anfang der weitergeleiteten nachricht",
    "message d'origine",
    "message original",
    "message transféré",
    "message initial",
    "début du message réexpédié",
    "mensaje original",
    "mensaje reenviado",
    "inicio del mensaje reenviado",
    "messaggio originale",
    "messaggio inoltrato",
    "messaggio inviato",
    "inizio messaggio inoltrato",
    "mensagem original",
    "mensagem encaminhada",
    "oorspronkelijk bericht",
    "origineel bericht",
    "doorgestuurd bericht",
    "ursprungligt meddelande",
    "vidarebefordrat meddelande",
    "oprindelig meddelelse",
    "videresendt meddelelse",
    "opprinnelig melding",
    "videresendt melding",
    "alkuperäinen viesti",
    "välitetty viesti",
    "wiadomość oryginalna",
    "oryginalna wiadomość",
    "wiadomość przekazana",
    "původní zpráva",
    "přeposlaná zpráva",
    "исходное сообщение",
    "пересылаемое сообщение",
    "пересланное сообщение",
    "оригінальне повідомлення",
    "eredeti üzenet",
    "mesaj original",
    "özgün ileti",
    "orijinal mesaj",
    "αρχικό μήνυμα",
    "原始邮件",
    "转发邮件",
    "原始郵件",
    "轉寄郵件",
    "元のメッセージ",
    "原本のメッセージ",
    "원본 메시지",
    "원본 메일",
];
/// Who a mail is from, at the top of its head.
const FROM: &[&str] = &[
    "from",
    "von",
    "de",
    "da",
    "från",
    "fra",
    "van",
    "od",
    "от",
    "від",
    "kimden",
    "lähettäjä",
    "feladó",
    "de la",
    "expéditeur",
    "από",
    "发件人",
    "寄件者",
    "寄件人",
    "差出人",
    "送信者",
    "보낸 사람",
    "보낸사람",
];
/// The other fields of a head.
const FIELDS: &[&str] = &[
    "to",
    "cc",
    "sent",
    "date",
    "subject",
    "reply-to",
    "sender",
    "an",
    "gesendet",
    "datum",
    "betreff",
    "à",
    "a",
    "cci",
    "envoyé",
    "objet",
    "répondre à",
    "para",
    "enviado",
    "enviado el",
    "enviada em",
    "fecha",
    "asunto",
    "data",
    "assunto",
    "risposta",
    "rispondi a",
    "inviato",
    "oggetto",
    "aan",
    "verzonden",
    "onderwerp",
    "till",
    "skickat",
    "ämne",
    "til",
    "sendt",
    "emne",
    "dato",
    "vastaanottaja",
    "lähetetty",
    "aihe",
    "päivämäärä",
    "do",
    "wysłano",
    "temat",
    "komu",
    "odesláno",
    "předmět",
    "кому",
    "дата",
    "отправлено",
    "тема",
    "надіслано",
    "címzett",
    "elküldve",
    "tárgy",
    "către",
    "trimis",
    "subiect",
    "kime",
    "gönderildi",
    "konu",
    "tarih",
    "προς",
    "θέμα",
    "ημερομηνία",
    "收件人",
    "发送时间",
    "发送日期",
    "日期",
    "主题",
    "抄送",
    "收件者",
    "主旨",
    "寄件日期",
    "宛先",
    "送信日時",
    "件名",
    "日付",
    "받는 사람",
    "보낸 날짜",
    "제목",
    "날짜",
];
/// What devices and programs write below a mail; some with the name of one behind it.
const DEVICES: &[&str] = &[
    "sent from",
    "sent via",
    "sent with",
    "sent by",
    "sent using",
    "get outlook for",
    "get [outlook",
    "from my ip",
    "from my phone",
    "from my mobile",
    "typed on my",
    "envoyé depuis",
    "envoyé de mon",
    "envoyé à partir",
    "envoyé avec",
    "télécharger outlook",
    "obtenez outlook",
    "von meinem",
    "von meiner",
    "gesendet von",
    "gesendet mit",
    "gesendet über",
    "diese nachricht wurde von",
    "diese e-mail wurde von",
    "holen sie sich outlook",
    "outlook für",
    "enviado desde",
    "enviado do",
    "enviado via",
    "enviado a través",
    "enviado con",
    "obtener outlook",
    "obter o outlook",
    "inviato da",
    "inviato dal",
    "ottieni outlook",
    "scarica outlook",
    "verzonden vanaf",
    "verzonden met",
    "verstuurd vanaf",
    "verstuurd met",
    "outlook voor",
    "sendt fra",
    "skickat från",
    "skickades från",
    "lähetetty",
    "hanki outlook",
    "wysłane z",
    "wysłano z",
    "odesláno z",
    "odoslané z",
    "отправлено с",
    "отправлено из",
    "надіслано з",
    "отримайте outlook",
    "küldve",
    "trimis de pe",
    "στάλθηκε από",
    "從我的",
    "发自我的",
    "發自我的",
    "來自我的",
    "发送自",
    "나의 iphone",
    "내 iphone",
    "iphoneから送信",
    "ipadから送信",
    "androidから送信",
    "gönderildi",
];

/// What begins with the first of these lines, and over how many it goes.
pub(super) fn at(lines: &[&str]) -> Option<(Mark, usize)> {
    let first = lines.first()?;
    if is_original(first) {
        let gap = lines
            .iter()
            .skip(1)
            .take_while(|line| line.trim().is_empty())
            .count();
        let head = lines.get(1 + gap..).map_or(0, head);
        return Some((Mark::Sender, if head > 0 { 1 + gap + head } else { 1 }));
    }
    let head = head(lines);
    if head > 0 {
        return Some((Mark::Head, head));
    }
    heading(lines).map(|length| (Mark::Wrote, length))
}

/// Over how many lines a head goes that begins here; 0 if none does.
fn head(lines: &[&str]) -> usize {
    let Some(first) = lines.first() else { return 0 };
    if !label(first).is_some_and(|label| FROM.contains(&label.as_str())) {
        return 0;
    }
    let block = lines
        .iter()
        .take_while(|line| !line.trim().is_empty())
        .take(12);
    let lines: Vec<&&str> = block.collect();
    let fields = lines.iter().skip(1).filter(|line| {
        label(line)
            .is_some_and(|label| FIELDS.contains(&label.as_str()) || FROM.contains(&label.as_str()))
    });
    if fields.count() > 0 { lines.len() } else { 0 }
}

/// The label of a field, in small letters, without marks of emphasis.
fn label(line: &str) -> Option<String> {
    let line = line.trim().trim_start_matches(['*', '_']);
    let (label, _) = line.split_once([':', '：'])?;
    let label = label.trim_end_matches(['*', '_', ' ', '\u{a0}']);
    (label.chars().count() <= 20).then(|| label.to_lowercase())
}

/// Whether a line is one over a mail that follows whole.
fn is_original(line: &str) -> bool {
    let line = line.trim();
    let marked = line.starts_with(['-', '*', '_', '=']) || line.ends_with([':', '：', '-']);
    if !marked || line.len() > 120 {
        return false;
    }
    let words = line
        .trim_matches(|c: char| "-*_=:： \t".contains(c))
        .to_lowercase();
    ORIGINAL.contains(&words.replace('’', "'").as_str())
}

/// Over how many lines the heading of a quotation goes that begins here.
fn heading(lines: &[&str]) -> Option<usize> {
    let first = unquoted(lines.first()?);
    if first.is_empty() || !(first.contains(|c: char| c.is_ascii_digit()) || first.contains('@')) {
        return None;
    }
    let dated = begins_with_date(first);
    let opens = dated || opens_heading(first);
    // Where the heading begins with a weekday or the sender, it is broken once at most.
    let most = if opens { HEADING_LINES } else { 2 };
    let mut joined = String::new();
    let mut written = 0;
    for (at, line) in lines.iter().enumerate().take(HEADING_LINES * 2) {
        let line = unquoted(line);
        if line.is_empty() && opens {
            continue;
        }
        // Another heading begins within: what is above is text.
        let another = at > 0 && opens_heading(line);
        written += 1;
        if line.is_empty()
            || another
            || written > most
            || joined.len() + line.len() > HEADING_MAX
            || ends_sentence(&joined)
        {
            return None;
        }
        joined.push_str(line);
        joined.push(' ');
        if is_heading(&joined) || is_heading_without_word(joined.trim_end(), dated) {
            return Some(at + 1);
        }
        // Where the sender comes first, the word or the whole date is on the same line.
        let goes_on = opens || has_word(&joined) || has_time(&joined) && has_year(&joined);
        if !goes_on {
            return None;
        }
    }
    None
}

/// Months, shortened to as many letters as a word has.
const SHORT: &[&str] = &[
    "janv",
    "févr",
    "juil",
    "sept",
    "sett",
    "серп",
    "верес",
    "лист",
];

/// Whether a text ends as a sentence does, and not as an abbreviation or a day does.
fn ends_sentence(text: &str) -> bool {
    let text = text.trim_end();
    let Some(before) = text.strip_suffix('.') else {
        return text.ends_with(['!', '?']);
    };
    let word = before
        .rsplit(|c: char| !c.is_alphabetic())
        .next()
        .unwrap_or_default();
    word.chars().count() >= 4 && !SHORT.contains(&word.to_lowercase().as_str())
}

/// Whether a text says, over a quotation, who wrote it and when.
fn is_heading(text: &str) -> bool {
    let text = text.trim().trim_matches(['*', '_']).to_lowercase();
    let end = text.trim_end_matches(['-', ' ', '*']);
    let closed = end.ends_with([':', '：']) || end.len() < text.len() && end.ends_with("wrote");
    let closed = closed || end.ends_with("wrote") && end.starts_with("on ");
    closed && has_word(&text) && (text.contains('@') || has_time(&text) || has_year(&text))
}

fn has_word(text: &str) -> bool {
    let text = text.to_lowercase();
    WROTE.iter().any(|word| text.contains(word))
}

/// Whether a line begins as the heading of a quotation does: with the word before the date, or the
/// date.
fn opens_heading(line: &str) -> bool {
    let word = line
        .split([' ', '\u{a0}'])
        .next()
        .unwrap_or_default()
        .to_lowercase();
    let word = word.trim_matches(['*', '_', '-']);
    let dated = line.contains(|c: char| c.is_ascii_digit());
    let number = word.starts_with(|c: char| c.is_ascii_digit());
    dated && (BEFORE_DATE.contains(&word) || number && has_time(line) || line.starts_with('在'))
}

/// Some say the date and the sender, and no word: with the sender's address at the end, or, after a
/// date, with the zone of the clock.
fn is_heading_without_word(line: &str, dated: bool) -> bool {
    let end = line.trim_end_matches([':', '：', ' ']);
    let addressed = end.ends_with('>') && end.contains('@');
    let timed = has_time(end) && has_year(end) && end.len() < line.len();
    end.len() < 200
        && (addressed && (dated || timed)
            || dated && end.contains(" GMT") && has_time(end) && !end.ends_with('<'))
}

/// Whether a text begins with a date as 2016-03-03 or 2013/7/20.
fn begins_with_date(text: &str) -> bool {
    let mut parts = text
        .split([' ', '\u{a0}'])
        .next()
        .unwrap_or_default()
        .split(['-', '/']);
    let mut number = |digits: std::ops::RangeInclusive<usize>| {
        parts.next().is_some_and(|part| {
            digits.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    number(4..=4) && number(1..=2) && number(1..=2)
}

fn has_time(text: &str) -> bool {
    text.as_bytes().windows(4).any(|window| {
        matches!(window, [hour, b':' | b'.', ten, one] if [hour, ten, one].into_iter().all(u8::is_ascii_digit))
    })
}

fn has_year(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_digit());
    words.any(|word| word.len() == 4 && (word.starts_with("19") || word.starts_with("20")))
}

/// A line without marks of quotation.
fn unquoted(line: &str) -> &str {
    line.trim_start_matches(['>', ' ', '\t', '|']).trim_end()
}

/// Whether a line is quoted: by `>`, by `|`, or by the initials of who wrote it, as `AG>`.
pub(super) fn is_quoted(line: &str) -> bool {
    let line = line.trim_start();
    if line.starts_with('>') || line == "|" || line.starts_with("| ") {
        return true;
    }
    is_initialled(line)
}

/// Whether a line is quoted by the initials or the name of who wrote it.
pub(super) fn is_initialled(line: &str) -> bool {
    let line = line.trim_start();
    let initials = line
        .find('>')
        .and_then(|at| line.get(..at))
        .unwrap_or_default();
    (1..=10).contains(&initials.len()) && initials.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Whether a line is nothing but a rule, or a mark that some programs leave.
pub(super) fn is_rule(line: &str) -> bool {
    let line = line.trim();
    let rule = |c: char| "-*#~=_+—–ᐧ".contains(c);
    !line.is_empty() && line.chars().all(rule) && (line.chars().count() > 1 || !line.is_ascii())
}

/// Whether a line is a rule as one puts over a signature.
pub(super) fn is_long_rule(line: &str) -> bool {
    let line = line.trim();
    line.len() >= 5 && line.chars().all(|c| c == '_' || c == '-')
}

/// Whether a line is what a device or a program writes below a mail.
pub(super) fn is_of_device(line: &str) -> bool {
    let line = line
        .trim()
        .trim_start_matches(['(', '<', '[', '*', '_', ' '])
        .to_lowercase();
    let short = line.chars().count() <= 160;
    let named = DEVICES.iter().any(|phrase| line.starts_with(phrase));
    short
        && (named
            || line.chars().count() <= 40
                && (line.ends_with("from mobile") || line.ends_with("から送信")))
}

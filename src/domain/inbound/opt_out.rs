//! Requests for no more mail: a mail that says this and nothing else, or that went to an address which
//! is there for it. A sentence among others is for a person to read.

use super::mime::Parsed;

/// Words that ask for it, alone.
const REQUESTS: &[&str] = &[
    // English
    "unsubscribe",
    "unsubscribe me",
    "please unsubscribe",
    "please unsubscribe me",
    "pls unsubscribe",
    "unsubscribe please",
    "unsubscribe me please",
    "please unsubscribe me from this list",
    "please unsubscribe me from your list",
    "unsubscribe me from your list",
    "unsubscribe me from this list",
    "unsubscribe from this list",
    "unsub",
    "stop",
    "stop it",
    "stop please",
    "please stop",
    "stop all",
    "stopall",
    "stop emailing me",
    "please stop emailing me",
    "stop sending me emails",
    "stop contacting me",
    "please stop contacting me",
    "opt out",
    "optout",
    "opt me out",
    "please opt me out",
    "remove",
    "remove me",
    "please remove",
    "please remove me",
    "remove me please",
    "remove me from your list",
    "please remove me from your list",
    "remove me from this list",
    "please remove me from this list",
    "remove me from your mailing list",
    "please remove me from your mailing list",
    "take me off your list",
    "please take me off your list",
    "delete me",
    "no more emails",
    "no more emails please",
    "no more email",
    "do not contact me",
    "do not contact me again",
    "don't contact me",
    "don't email me",
    "do not email me",
    "do not email me again",
    // German
    "abmelden",
    "bitte abmelden",
    "abmeldung",
    "abbestellen",
    "bitte abbestellen",
    "austragen",
    "bitte austragen",
    "newsletter abmelden",
    "newsletter abbestellen",
    "bitte löschen",
    "stopp",
    "bitte keine weiteren mails",
    "bitte keine mails mehr",
    "keine mails mehr",
    "keine e-mails mehr",
    "keine weiteren e-mails",
    "bitte keine weiteren e-mails",
    // French
    "désabonner",
    "désabonnement",
    "désabonnez-moi",
    "me désabonner",
    "se désabonner",
    "désinscrire",
    "désinscription",
    "désinscrivez-moi",
    "me désinscrire",
    "se désinscrire",
    "merci de me désinscrire",
    "merci de me désabonner",
    "veuillez me désinscrire",
    "veuillez me désabonner",
    "arrêt",
    "arrêtez",
    "desabonner",
    "desabonnement",
    "desinscrire",
    "desinscription",
    // Spanish, Portuguese, Italian, Catalan
    "baja",
    "darme de baja",
    "dar de baja",
    "darse de baja",
    "dame de baja",
    "quiero darme de baja",
    "por favor darme de baja",
    "cancelar suscripción",
    "cancelar suscripcion",
    "cancelar la suscripción",
    "desuscribir",
    "desuscribirme",
    "eliminar",
    "no más correos",
    "cancelar inscrição",
    "cancelar inscricao",
    "cancelar subscrição",
    "cancelar assinatura",
    "descadastrar",
    "descadastre-me",
    "descadastro",
    "remover",
    "remova-me",
    "por favor remover",
    "sair",
    "parar",
    "pare",
    "cancellami",
    "cancellarmi",
    "cancella iscrizione",
    "annulla iscrizione",
    "disiscrivimi",
    "disiscriviti",
    "disiscrizione",
    "disiscrivere",
    "rimuovimi",
    "rimuovetemi",
    "cancellazione",
    "baixa",
    // Dutch and the north
    "uitschrijven",
    "afmelden",
    "schrijf mij uit",
    "graag uitschrijven",
    "graag afmelden",
    "avregistrera",
    "avregistrera mig",
    "avsluta",
    "avanmäl",
    "avprenumerera",
    "afmeld",
    "frameld",
    "afmeld mig",
    "frameld mig",
    "avmeld",
    "meld meg av",
    "meld av",
    "peruuta tilaus",
    "peru tilaus",
    "poista",
    "poista minut",
    "lopeta",
    // The east
    "wypisz",
    "wypisz mnie",
    "proszę mnie wypisać",
    "rezygnuję",
    "rezygnacja",
    "odhlásit",
    "odhlaste mě",
    "odhlásiť",
    "leiratkozás",
    "leiratkozom",
    "dezabonare",
    "dezabonează-mă",
    "odjava",
    "odjavi me",
    "отписаться",
    "отпишите меня",
    "отписка",
    "отпиши меня",
    "стоп",
    "удалите меня",
    "відписатися",
    "відпишіть мене",
    "отпишете ме",
    "διαγραφή",
    "απεγγραφή",
    "aboneliği iptal et",
    "abonelikten çık",
    "listeden çıkar",
    "iptal",
    "dur",
    // Asia
    "配信停止",
    "配信停止希望",
    "配信を停止してください",
    "解除",
    "登録解除",
    "退会",
    "退订",
    "取消订阅",
    "退訂",
    "取消訂閱",
    "수신거부",
    "구독취소",
    "구독 취소",
    "berhenti",
    "berhenti berlangganan",
    "hủy đăng ký",
    "ยกเลิกการติดตาม",
    "إلغاء الاشتراك",
    "הסר",
    "הסירו אותי",
];
/// How an address begins that is there to be written to for it.
const ADDRESSES: &[&str] = &[
    "unsubscribe",
    "unsub-",
    "unsub+",
    "list-unsubscribe",
    "optout",
    "opt-out",
    "leave-",
    "abmelden",
];
/// How long a text may be that asks for nothing else, in characters.
const REQUEST_MAX: usize = 80;
/// How long the text may be below a subject that asks, in characters: some programs put one there.
const BELOW_MAX: usize = 300;

/// Whether a mail asks for no more mail and for nothing else. `text` is what is new in it.
pub(super) fn is_request(parsed: &Parsed<'_>, text: &str) -> bool {
    if parsed
        .recipients()
        .iter()
        .any(|address| is_for_requests(address))
    {
        return true;
    }
    if asks(text) {
        return true;
    }
    // A reply bears the subject of what it answers.
    let subject = parsed.subject();
    parsed.answers().is_empty() && asks(&subject) && text.chars().count() <= BELOW_MAX
}

/// Whether a text is a request and nothing else.
fn asks(text: &str) -> bool {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > REQUEST_MAX {
        return false;
    }
    let words = text.split(|c: char| {
        c.is_whitespace() || "!.,;:¡!。！\"'“”„«»*_()[]<>".contains(c) && c != '\''
    });
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let words = words.join(" ").replace('’', "'").to_lowercase();
    let words = words
        .trim_end_matches(" thanks")
        .trim_end_matches(" thank you")
        .trim_end_matches(" danke")
        .trim_end_matches(" merci");
    REQUESTS.contains(&words) || REQUESTS.contains(&words.replace('-', " ").as_str())
}

/// Whether an address is there to be written to for it, also as an extension: `sales+unsubscribe-7@…`.
fn is_for_requests(address: &str) -> bool {
    let local = address
        .rsplit_once('@')
        .map_or("", |(local, _)| local)
        .to_ascii_lowercase();
    let mut parts = local.split(['+', '=', '.']);
    let whole = ADDRESSES.iter().any(|begin| local.starts_with(begin));
    whole
        || parts.any(|part| {
            part == "unsubscribe" || part.starts_with("unsubscribe-") || part == "unsub"
        })
}

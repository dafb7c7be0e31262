//! What is new in a reply.

use super::*;

fn new_text(text: &str) -> String {
    mail("From: ana@example.com\nSubject: Re: Hello", text).text
}

#[test]
fn the_quotation_below_goes_whatever_its_heading_says() {
    for heading in [
        "On Tue, Mar 3, 2026 at 10:00 AM Us <us@example.org> wrote:",
        "On Tue, Mar 3, 2026 at 10:00 AM Somebody With A Long Name\n<us@example.org> wrote:",
        "Am Di., 3. März 2026 um 10:00 Uhr schrieb Wir <us@example.org>:",
        "Wir <us@example.org> schrieb am Di., 3. März 2026, 10:00:",
        "Le mar. 3 mars 2026 à 10:00, Nous <us@example.org> a écrit :",
        "El mar, 3 mar 2026 a las 10:00, Nosotros (<us@example.org>) escribió:",
        "Il giorno mar 3 mar 2026 alle ore 10:00 Noi <us@example.org> ha scritto:",
        "Em ter., 3 de mar. de 2026 às 10:00, Nós <us@example.org> escreveu:",
        "Op di 3 mrt 2026 om 10:00 schreef Wij <us@example.org>:",
        "Den tis 3 mars 2026 kl 10:00 skrev Vi <us@example.org>:",
        "wt., 3 mar 2026 o 10:00 My <us@example.org> napisał(a):",
        "вт, 3 мар. 2026 г. в 10:00, Мы <us@example.org> написал:",
        "2026年3月3日(火) 10:00 私たち <us@example.org> さんは書きました:",
        "us@example.org 于2026年3月3日周二 10:00写道：",
        "2026年3月3日(火) 10:00 私たち <us@example.org>:",
        "вт, 3 мар. 2026 г. в 10:00, Мы <us@example.org>:",
        "On 03/03/2026 10:00, Us wrote:",
        "Us <us@example.org> wrote on 03/03/2026 10:00:",
        "-----us@example.org wrote: -----",
        "út 3. 3. 2026 v 10:00 odesílatel My <us@example.org>\nnapsal:",
        "3 Mar 2026 Sal, 10:00 tarihinde Biz <us@example.org> şunu yazdı:",
    ] {
        let text = format!("Gladly.\n\n{heading}\n\n> Hello Ana,\n> shall we talk?\n");
        assert_eq!(new_text(&text), "Gladly.", "{heading}");
    }
}

#[test]
fn a_mail_below_goes_with_its_head() {
    for head in [
        "-----Original Message-----\nFrom: Us\nSent: Tuesday\nTo: Ana\nSubject: Hello",
        "________________________________\nFrom: Us <us@example.org>\nSent: Tuesday, 3 March 2026\nTo: Ana\nSubject: Hello",
        "Von: Wir\nGesendet: Dienstag, 3. März 2026 10:00\nAn: Ana\nBetreff: Hallo",
        "De : Nous\nEnvoyé : mardi 3 mars 2026\nÀ : Ana\nObjet : Bonjour",
        "*From:* Us\n*Date:* Tuesday\n*To:* Ana\n*Subject:* Hello",
        "---------- Forwarded message ---------\nFrom: Us\nDate: Tue\nSubject: Hello\nTo: Ana",
    ] {
        let text = format!("Gladly.\n\n{head}\n\nHello Ana,\nshall we talk?\n");
        assert_eq!(new_text(&text), "Gladly.", "{head}");
    }
}

#[test]
fn signatures_go() {
    for below in [
        "-- \nAna García\nExample Ltd.",
        "Sent from my iPhone",
        "Von meinem iPhone gesendet",
        "Envoyé de mon iPhone",
        "Get Outlook for Android",
        "_____________\nAna García\n+34 600 000 000",
    ] {
        assert_eq!(
            new_text(&format!("Gladly.\n\n{below}\n")),
            "Gladly.",
            "{below}"
        );
    }
}

#[test]
fn what_is_answered_in_between_stays() {
    let text = "See below.\n\nOn Tue, 3 Mar 2026 at 10:00, Us <us@example.org> wrote:\n\
        > Shall we talk?\n\nYes, on Monday.\n\n> And Bob?\n\nHe too.\n";
    assert_eq!(
        new_text(text),
        "See below.\n\n> Shall we talk?\n\nYes, on Monday.\n\n> And Bob?\n\nHe too."
    );
    let below = "On Tue, 3 Mar 2026 at 10:00, Us <us@example.org> wrote:\n> Shall we talk?\n\nYes.";
    assert_eq!(new_text(below), "Yes.");
}

#[test]
fn sentences_that_resemble_headings_stay() {
    for text in [
        "On Monday I wrote to Bob.\nHe has not answered.",
        "From: what I know, it is fine.\nRegards",
        "I wrote a book in 2019.\nYou may like it.",
        "In 2019 I wrote a book.\n\nIt has three parts:\none, two and three.",
        "The meeting of 3 March 2026 at 10:00 was good.\nI wrote this down:\nmore sales.",
        "On Tuesday at 10:00 I will call.\nI wrote you about it:\nit is about sales.",
        "Numbers --- not words --- count.",
    ] {
        assert_eq!(new_text(text), text, "{text}");
    }
}

#[test]
fn html_alone_is_read_as_its_reader_sees_it() {
    let html = "<html><head><style>p{color:red}</style><title>x</title></head><body>\
        <div>Gladly &amp; soon,<br>Ana</div><div class=\"gmail_quote\"><div class=\"gmail_attr\">On Tue, Mar 3, 2026 Us wrote:</div>\
        <blockquote><p>Hello Ana</p></blockquote></div></body></html>";
    let raw = format!("From: ana@example.com\nContent-Type: text/html; charset=utf-8\n\n{html}");
    assert_eq!(read(raw.as_bytes()).text, "Gladly & soon,\nAna");

    let outlook = "<div>Ja, gerne.</div><div id=\"divRplyFwdMsg\"><b>Von:</b> Wir<br><b>Gesendet:</b> Dienstag<br></div><div>Hallo</div>";
    let raw = format!("From: ana@example.com\nContent-Type: text/html\n\n{outlook}");
    assert_eq!(read(raw.as_bytes()).text, "Ja, gerne.");
}

#[test]
fn text_in_old_encodings_is_read() {
    let latin = b"From: ana@example.com\nContent-Type: text/plain; charset=iso-8859-1\n\nSch\xf6ne Gr\xfc\xdfe\n";
    assert_eq!(read(latin).text, "Schöne Grüße");
    let japanese = b"From: ana@example.com\nContent-Type: text/plain; charset=iso-2022-jp\n\n\x1b$B$3$s$K$A$O\x1b(B\n";
    assert_eq!(read(japanese).text, "こんにちは");
    let quoted = b"From: ana@example.com\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nSch=C3=B6n=\n er\n";
    assert_eq!(read(quoted).text, "Schön er");
}

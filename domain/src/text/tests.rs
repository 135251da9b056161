use super::*;

#[test]
fn emails_have_two_parts_and_no_space() {
    for good in ["a@b", "John.Doe+x@example.co.uk", " padded@example.com "] {
        assert!(EmailAddress::parse(good).is_ok(), "{good}");
    }
    let long = format!("{}@example.com", "a".repeat(250));
    for bad in ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\0", "a@.b", "a@b.", long.as_str()] {
        assert_eq!(EmailAddress::parse(bad).unwrap_err().field, "email", "{bad}");
    }
}

#[test]
fn emails_that_differ_in_case_are_one_login() {
    assert_eq!(
        EmailAddress::parse("Ann@Example.COM").unwrap().to_key(),
        EmailAddress::parse("ann@example.com").unwrap().to_key()
    );
}

#[test]
fn names_are_neither_blank_nor_endless() {
    assert_eq!(DisplayName::parse("  Jane Smith ").unwrap().as_str(), "Jane Smith");
    assert!(DisplayName::parse(&"ü".repeat(200)).is_ok());
    for bad in ["", "   ", "a\0b", "a\nb", &"ü".repeat(201)] {
        assert_eq!(DisplayName::parse(bad).unwrap_err().field, "name");
    }
}

#[test]
fn a_name_shows_and_says_what_it_shows() {
    for good in ["李小龍", "می‌خواهم", "क्‍ष", "👩‍🚀", "❤️", "Zoë", "O'Brien", "أحمد", "J.", "ﬀ"]
    {
        assert!(DisplayName::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "\u{200b}",
        "\u{3164}",
        "\u{2800}",
        "\u{ad}",
        "\u{feff}",
        "\u{200d}",
        "\u{fe0f}",
        "\u{115f}\u{1160}",
        "\u{2800} \u{2800}",
        "Ann\u{202e}nnA",
        "Ann\u{200b}",
        "\u{2066}Ann\u{2069}",
        "Ann\u{61c}",
        "An\u{ad}n",
        "Ann\u{2028}Bob",
        "Ann\u{e0041}",
        "Ann\u{180e}",
    ] {
        let invalid = DisplayName::parse(bad).unwrap_err();
        assert_eq!(invalid.field, "name", "{bad:?}");
    }
}

#[test]
fn nothing_invisible_is_part_of_an_email() {
    for bad in
        ["a\u{200b}nn@example.com", "ann@exam\u{2060}ple.com", "ann@\u{202e}example.com", "ann\u{ad}@example.com"]
    {
        assert_eq!(EmailAddress::parse(bad).unwrap_err().field, "email", "{bad:?}");
    }
}

#[test]
fn a_message_may_have_lines_but_no_control_characters() {
    assert!(MessageText::parse("two\r\nlines\tand a tab 👋").is_ok());
    assert!(MessageText::parse(&"👋".repeat(10_000)).is_ok());
    for bad in ["nul\0", "bell\u{7}", "c1\u{85}", &"👋".repeat(10_001)] {
        assert_eq!(MessageText::parse(bad).unwrap_err().field, "content");
    }
    assert!(MessageText::parse(" \n\t").unwrap().is_blank());
}

#[test]
fn a_retry_key_is_short_and_printable() {
    assert!(RetryKey::parse("clientMessageId", &"k".repeat(128)).is_ok());
    for bad in ["", "a\0", &"k".repeat(129)] {
        assert_eq!(RetryKey::parse("Idempotency-Key", bad).unwrap_err().field, "Idempotency-Key");
    }
}

#[test]
fn a_room_is_short_and_printable() {
    assert!(RoomId::parse("room_123").is_ok());
    for bad in ["", "a\0", &"r".repeat(201)] {
        assert_eq!(RoomId::parse(bad).unwrap_err().field, "roomId");
    }
}

#[test]
fn a_password_is_neither_short_nor_endless() {
    for good in ["8 chars!".to_owned(), "ü".repeat(8), "ü".repeat(128)] {
        assert!(Password::parse(&good).is_ok(), "{good}");
    }
    for bad in [String::new(), "7 chars".to_owned(), "ü".repeat(129)] {
        assert_eq!(Password::parse(&bad).unwrap_err().field, "password");
    }
}

#[test]
fn a_password_is_not_what_everybody_takes() {
    for common in ["password", "PassWord", "12345678", "iloveyou1", "sunshine1"] {
        assert!(Password::parse(common).unwrap_err().reason.contains("common"), "{common}");
    }
}

#[test]
fn a_reason_says_something_short() {
    assert_eq!(Reason::parse(" spam ").unwrap().as_str(), "spam");
    for bad in ["", " ", "a\0", &"r".repeat(501)] {
        assert_eq!(Reason::parse(bad).unwrap_err().field, "reason");
    }
}

#[test]
fn whatever_a_file_is_called_its_name_is_harmless() {
    for (called, name) in [
        ("photo.jpg", "photo.jpg"),
        ("Résumé 2025 (final).pdf", "Résumé 2025 (final).pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\system32\\cmd.exe", "cmd.exe"),
        ("..", "file"),
        (".hidden", "hidden"),
        ("", "file"),
        ("a\0b\r\nSet-Cookie: x=1.txt", "abSet-Cookie x=1.txt"),
        ("gnp\u{202e}exe.png", "gnpexe.png"),
        ("\"><script>.html", "script.html"),
    ] {
        assert_eq!(FileName::tidied(called).as_str(), name);
    }
    assert_eq!(FileName::tidied(&"n".repeat(300)).as_str().len(), 255);
}

#[test]
fn a_content_type_has_two_parts() {
    for (said, expected) in [("image/png", "image/png"), ("Text/HTML; charset=utf-8", "text/html"), ("a/b+c", "a/b+c")]
    {
        assert_eq!(ContentType::parse(said).unwrap().as_str(), expected);
    }
    let long = format!("a/{}", "b".repeat(130));
    for bad in ["", "image", "/png", "image/", "a/b/c", "a b/c", "a/b\r\nc", "ä/b", long.as_str()] {
        assert!(ContentType::parse(bad).is_err(), "{bad}");
    }
    assert!(ContentType::parse("image/png").unwrap().is_safe_picture());
    for unsafe_type in ["image/svg+xml", "text/html", "application/pdf", "application/xml"] {
        assert!(!ContentType::parse(unsafe_type).unwrap().is_safe_picture(), "{unsafe_type}");
    }
}

#[test]
fn a_device_says_what_it_is_or_nothing() {
    assert_eq!(UserAgent::tidied("Firefox/130\r\n").unwrap().as_str(), "Firefox/130");
    assert_eq!(UserAgent::tidied(&"u".repeat(300)).unwrap().as_str().len(), 200);
    assert!(UserAgent::tidied(" \0").is_none());
}

#[test]
fn an_avatar_is_an_https_url_in_its_normalised_form() {
    for (given, kept) in [
        ("https://example.com/a.png", "https://example.com/a.png"),
        ("HTTPS://EXAMPLE.com:443/a/../b.png", "https://example.com/b.png"),
        ("https://x/\"><script>", "https://x/%22%3E%3Cscript%3E"),
        ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4"),
    ] {
        assert_eq!(Avatar::parse(given).unwrap().as_str(), kept);
    }
    let long = format!("https://example.com/{}", "a".repeat(2000));
    for bad in [
        "",
        "javascript:alert(1)",
        "data:text/html,x",
        "http://example.com/a.png",
        "//example.com/a.png",
        "/a.png",
        "https://",
        "https://a b/",
        "https://user:password@example.com/",
        "https://user@example.com/",
        "ftp://example.com/",
        "https://example.com/a\nb",
        long.as_str(),
    ] {
        assert_eq!(Avatar::parse(bad).unwrap_err().field, "avatar", "{bad}");
    }
}

#[test]
fn debug_output_shows_no_text() {
    assert!(!format!("{:?}", MessageText::parse("secret").unwrap()).contains("secret"));
}

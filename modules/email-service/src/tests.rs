//! What a client of email-service sees, from request to answer. What goes out to a server is in the end-to-end tests.

use module_api::testing::{TestHost, Value, conformance, json};

use crate::EmailService;

fn host() -> TestHost<EmailService> {
    TestHost::new().user("ada").role("Admin")
}

#[test]
fn it_conforms() {
    conformance::<EmailService>();
}

#[test]
fn a_template_is_made_replaced_listed_and_deleted() {
    let host = host();
    let body = json!({"subject": "Your visit, {{ name }}", "text": "On {{ day }}.", "html": "<p>On {{ day }}"});
    let made = host.put("/templates/visit", &body).expect(201);
    let template: Value = made.json();
    assert_eq!((&template["name"], &template["placeholders"]), (&json!("visit"), &json!(["day", "name"])));
    let replaced = host.put("/templates/visit", &json!({"subject": "s", "text": "t"})).expect(200);
    assert_eq!((replaced.json::<Value>().get("html"), replaced.header("etag")), (None, Some("\"2\"")));
    let late = host.request("PUT", "/templates/visit").header("if-match", "\"1\"").json(&body).send();
    assert_eq!(late.status, 412, "{late}");
    let page: Value = host.get("/templates").expect(200).json();
    assert_eq!(page["items"][0]["subject"], "s");
    host.delete("/templates/visit").expect(204);
    assert_eq!(host.get("/templates/visit").code(), "email-service:template-not-found");
    assert_eq!(host.put("/templates/Visit", &body).code(), "REQUEST_INVALID");
}

#[test]
fn what_can_not_be_sent_is_refused_before_it_is_kept() {
    let host = host();
    let refused = |body: Value| {
        let answer = host.post("/messages", &body);
        (answer.status, answer.code().to_owned(), answer.to_string())
    };
    let (status, code, text) = refused(json!({"to": "ann", "subject": "a\r\nBcc: b@c.d"}));
    assert_eq!((status, &*code), (400, "REQUEST_INVALID"));
    for part in ["`to` is no e-mail address", "`subject` must be one line", "`text` is required"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    host.put("/templates/visit", &json!({"subject": "For {{ name }}", "text": "On {{ day }}"})).expect(201);
    let (_, code, text) = refused(json!({"to": "a@b.c", "template": "visit", "data": {"name": "Ann"}}));
    assert!(code == "REQUEST_INVALID" && text.contains("`data` lacks what the template needs: day"), "{text}");
    let (status, code, _) = refused(json!({"to": "a@b.c", "template": "none"}));
    assert_eq!((status, &*code), (404, "email-service:template-not-found"));
    assert!(host.stored("Message").is_empty());
}

#[test]
fn only_those_who_may_send_do() {
    let host = host();
    let body = json!({"to": "a@b.c", "subject": "s", "text": "t"});
    for method in ["GET", "POST"] {
        let answer = host.request(method, "/messages").user("eve").json(&body).send();
        assert_eq!(answer.code(), "FORBIDDEN", "{method}");
    }
    assert_eq!(host.get("/messages/none").code(), "email-service:message-not-found");
    assert_eq!(host.get("/messages?status=lost").code(), "REQUEST_INVALID");
}

//! The JSON body of the request that creates a room.

use crate::json::{Object, quoted};
use crate::prelude::*;
use crate::types::{
    LiveTranscription, Recording, RecordingFormat, RecordingTrigger, RecordingType, RoomField,
    RoomMode, RoomNamePattern, StorageAuthentication, StorageProvider, Streaming, StreamingTrigger,
    TranscriptionLanguage, TranscriptionTrigger,
};

/// The codes of the languages, in the order of the WIT.
const LANGUAGES: [&str; TranscriptionLanguage::Vi as usize + 1] = [
    "ca", "zh", "zh-TW", "cs", "da", "nl", "en", "en-US", "en-GB", "fi", "fr", "de", "de-CH", "el",
    "hi", "id", "it", "ja", "ko", "lv", "ms", "no", "pl", "pt", "pt-BR", "ro", "ru", "sk", "es",
    "sv", "th", "uk", "vi",
];

/// Returns the body. Absent members are left out.
pub(super) fn body(
    end_date: &str,
    start_date: Option<&str>,
    room_mode: Option<RoomMode>,
    room_name_prefix: Option<&str>,
    fields: &[RoomField],
) -> Vec<u8> {
    let mode = room_mode.map(|mode| match mode {
        RoomMode::Normal => "normal",
        RoomMode::Group => "group",
    });
    let mut body = Object::new();
    body.text("endDate", Some(end_date));
    body.text("startDate", start_date);
    body.text("roomMode", mode);
    body.text("roomNamePrefix", room_name_prefix);
    let mut urls = Vec::new();
    for field in fields {
        match field {
            RoomField::HostRoomUrl => urls.push("\"hostRoomUrl\""),
            RoomField::ViewerRoomUrl => urls.push("\"viewerRoomUrl\""),
            RoomField::LockRoomOnJoin | RoomField::IsLocked => body.json("isLocked", "true"),
            RoomField::ViewerMode => body.text("templateType", Some("viewerMode")),
            RoomField::RoomNamePattern(pattern) => {
                let pattern = match pattern {
                    RoomNamePattern::Uuid => "uuid",
                    RoomNamePattern::HumanShort => "human-short",
                };
                body.text("roomNamePattern", Some(pattern));
            }
            RoomField::Recording(given) => body.json("recording", &recording(given)),
            RoomField::Streaming(given) => body.json("streaming", &streaming(given)),
            RoomField::LiveTranscription(given) => {
                body.json("liveTranscription", &transcription(given));
            }
        }
    }
    if !urls.is_empty() {
        body.json("fields", &format!("[{}]", urls.join(",")));
    }
    body.finish().into_bytes()
}

fn recording(given: &Recording) -> String {
    let kind = match given.type_ {
        RecordingType::None => "none",
        RecordingType::Local => "local",
        RecordingType::Cloud => "cloud",
    };
    let destination = given.destination.as_ref().map(|to| {
        let texts =
            [&to.bucket, &to.region, &to.access_key_id, &to.access_key_secret, &to.oidc_role_arn];
        let format = to.file_format.map(|format| match format {
            RecordingFormat::Mkv => "mkv",
            RecordingFormat::Mp4 => "mp4",
        });
        storage(to.provider, to.authentication_type, texts, format)
    });
    let trigger = given.start_trigger.map(|trigger| match trigger {
        RecordingTrigger::None => "none",
        RecordingTrigger::Prompt => "prompt",
        RecordingTrigger::Automatic => "automatic",
        RecordingTrigger::AutomaticSecondParticipant => "automatic-2nd-participant",
    });
    let mut body = Object::new();
    body.text("type", Some(kind));
    add_required(&mut body, destination, trigger);
    body.finish()
}

fn transcription(given: &LiveTranscription) -> String {
    let destination = given.destination.as_ref().map(|to| {
        let texts =
            [&to.bucket, &to.region, &to.access_key_id, &to.access_key_secret, &to.oidc_role_arn];
        storage(to.provider, to.authentication_type, texts, None)
    });
    let trigger = given.start_trigger.map(|trigger| match trigger {
        TranscriptionTrigger::None => "none",
        TranscriptionTrigger::Manual => "manual",
        TranscriptionTrigger::Automatic => "automatic",
        TranscriptionTrigger::AutomaticSecondParticipant => "automatic-2nd-participant",
    });
    let mut body = Object::new();
    add_required(&mut body, destination, trigger);
    body.text("language", given.language.and_then(code));
    if let Some(is_on) = given.live_captions {
        body.json("liveCaptions", if is_on { "true" } else { "false" });
    }
    body.finish()
}

fn streaming(given: &Streaming) -> String {
    let mut destination = Object::new();
    destination.text("url", Some(&given.destination.url));
    let trigger = given.start_trigger.map(|trigger| match trigger {
        StreamingTrigger::None => "none",
        StreamingTrigger::Prompt => "prompt",
        StreamingTrigger::Automatic => "automatic",
    });
    let mut body = Object::new();
    add_required(&mut body, Some(destination.finish()), trigger);
    body.finish()
}

/// Adds the members that Whereby requires. It reads null as the organization's setting.
fn add_required(body: &mut Object, destination: Option<String>, trigger: Option<&str>) {
    let members = [("destination", destination), ("startTrigger", trigger.map(quoted))];
    for (name, value) in members {
        body.json(name, value.as_deref().unwrap_or("null"));
    }
}

/// Returns the destination of recordings or transcriptions. An empty string counts as absent: clients send
/// one for members that they do not use.
fn storage(
    provider: StorageProvider,
    authentication: Option<StorageAuthentication>,
    texts: [&Option<String>; 5],
    format: Option<&str>,
) -> String {
    let provider = match provider {
        StorageProvider::S3 => "s3",
        StorageProvider::Whereby => "whereby",
    };
    let authentication = authentication.map(|authentication| match authentication {
        StorageAuthentication::AccessKey => "accessKey",
        StorageAuthentication::RoleBased => "roleBased",
    });
    let names = ["bucket", "region", "accessKeyId", "accessKeySecret", "oidcRoleArn"];
    let mut body = Object::new();
    body.text("provider", Some(provider));
    body.text("authenticationType", authentication);
    for (name, text) in names.into_iter().zip(texts) {
        body.text(name, text.as_deref().filter(|text| !text.is_empty()));
    }
    body.text("fileFormat", format);
    body.finish()
}

fn code(language: TranscriptionLanguage) -> Option<&'static str> {
    LANGUAGES.get(language as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::{TranscriptionLanguage as L, code};

    #[test]
    fn languages_have_the_codes_of_the_api() {
        for (language, expected) in [
            (L::Ca, "ca"),
            (L::ZhTw, "zh-TW"),
            (L::EnGb, "en-GB"),
            (L::DeCh, "de-CH"),
            (L::Id, "id"),
            (L::Ms, "ms"),
            (L::PtBr, "pt-BR"),
            (L::Sk, "sk"),
            (L::Vi, "vi"),
        ] {
            assert_eq!(code(language), Some(expected));
        }
    }
}

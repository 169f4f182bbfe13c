//! The JSON body of the request that creates a room.

use serde::Serialize;

use crate::prelude::*;
use crate::types::{
    LiveTranscription, Recording, RecordingDestination, RecordingFormat, RecordingTrigger,
    RecordingType, RoomField, RoomMode, RoomNamePattern, StorageAuthentication, StorageProvider,
    Streaming, StreamingTrigger, TranscriptionDestination, TranscriptionLanguage,
    TranscriptionTrigger,
};

/// The body. Members without `skip_serializing_if` are `null` if absent: Whereby requires them and reads
/// null as the organization's setting.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    end_date: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_date: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_locked: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_name_prefix: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_name_pattern: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<RecordingBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    live_transcription: Option<TranscriptionBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    streaming: Option<StreamingBody<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordingBody<'a> {
    r#type: &'static str,
    destination: Option<StorageBody<'a>>,
    start_trigger: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TranscriptionBody<'a> {
    destination: Option<StorageBody<'a>>,
    start_trigger: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    live_captions: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StreamingBody<'a> {
    destination: StreamBody<'a>,
    start_trigger: Option<&'static str>,
}

#[derive(Serialize)]
struct StreamBody<'a> {
    url: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StorageBody<'a> {
    provider: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oidc_role_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_format: Option<&'static str>,
}

impl<'a> Body<'a> {
    /// Builds the body. Absent members are left out.
    pub(super) fn new(
        end_date: &'a str,
        start_date: Option<&'a str>,
        room_mode: Option<RoomMode>,
        room_name_prefix: Option<&'a str>,
        fields: &'a [RoomField],
    ) -> Self {
        let room_mode = room_mode.map(|mode| match mode {
            RoomMode::Normal => "normal",
            RoomMode::Group => "group",
        });
        let mut body =
            Self { end_date, start_date, room_mode, room_name_prefix, ..Self::default() };
        for field in fields {
            body.apply(field);
        }
        body
    }

    /// Writes the JSON.
    pub(super) fn write(&self) -> Vec<u8> {
        // JSON can always represent strings and booleans.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn apply(&mut self, field: &'a RoomField) {
        match field {
            RoomField::HostRoomUrl => self.fields.push("hostRoomUrl"),
            RoomField::ViewerRoomUrl => self.fields.push("viewerRoomUrl"),
            RoomField::LockRoomOnJoin | RoomField::IsLocked => self.is_locked = Some(true),
            RoomField::ViewerMode => self.template_type = Some("viewerMode"),
            RoomField::RoomNamePattern(pattern) => {
                self.room_name_pattern = Some(match pattern {
                    RoomNamePattern::Uuid => "uuid",
                    RoomNamePattern::HumanShort => "human-short",
                });
            }
            RoomField::Recording(recording) => self.recording = Some(recording.into()),
            RoomField::Streaming(streaming) => self.streaming = Some(streaming.into()),
            RoomField::LiveTranscription(transcription) => {
                self.live_transcription = Some(transcription.into());
            }
        }
    }
}

impl<'a> From<&'a Recording> for RecordingBody<'a> {
    fn from(recording: &'a Recording) -> Self {
        Self {
            r#type: match recording.type_ {
                RecordingType::None => "none",
                RecordingType::Local => "local",
                RecordingType::Cloud => "cloud",
            },
            destination: recording.destination.as_ref().map(StorageBody::from),
            start_trigger: recording.start_trigger.map(|trigger| match trigger {
                RecordingTrigger::None => "none",
                RecordingTrigger::Prompt => "prompt",
                RecordingTrigger::Automatic => "automatic",
                RecordingTrigger::AutomaticSecondParticipant => "automatic-2nd-participant",
            }),
        }
    }
}

impl<'a> From<&'a LiveTranscription> for TranscriptionBody<'a> {
    fn from(transcription: &'a LiveTranscription) -> Self {
        Self {
            destination: transcription.destination.as_ref().map(StorageBody::from),
            start_trigger: transcription.start_trigger.map(|trigger| match trigger {
                TranscriptionTrigger::None => "none",
                TranscriptionTrigger::Manual => "manual",
                TranscriptionTrigger::Automatic => "automatic",
                TranscriptionTrigger::AutomaticSecondParticipant => "automatic-2nd-participant",
            }),
            language: transcription.language.map(language_code),
            live_captions: transcription.live_captions,
        }
    }
}

impl<'a> From<&'a Streaming> for StreamingBody<'a> {
    fn from(streaming: &'a Streaming) -> Self {
        Self {
            destination: StreamBody { url: &streaming.destination.url },
            start_trigger: streaming.start_trigger.map(|trigger| match trigger {
                StreamingTrigger::None => "none",
                StreamingTrigger::Prompt => "prompt",
                StreamingTrigger::Automatic => "automatic",
            }),
        }
    }
}

impl<'a> From<&'a RecordingDestination> for StorageBody<'a> {
    fn from(destination: &'a RecordingDestination) -> Self {
        Self {
            provider: provider_name(destination.provider),
            authentication_type: destination.authentication_type.map(authentication_name),
            bucket: given(&destination.bucket),
            region: given(&destination.region),
            access_key_id: given(&destination.access_key_id),
            access_key_secret: given(&destination.access_key_secret),
            oidc_role_arn: given(&destination.oidc_role_arn),
            file_format: destination.file_format.map(|format| match format {
                RecordingFormat::Mkv => "mkv",
                RecordingFormat::Mp4 => "mp4",
            }),
        }
    }
}

impl<'a> From<&'a TranscriptionDestination> for StorageBody<'a> {
    fn from(destination: &'a TranscriptionDestination) -> Self {
        Self {
            provider: provider_name(destination.provider),
            authentication_type: destination.authentication_type.map(authentication_name),
            bucket: given(&destination.bucket),
            region: given(&destination.region),
            access_key_id: given(&destination.access_key_id),
            access_key_secret: given(&destination.access_key_secret),
            oidc_role_arn: given(&destination.oidc_role_arn),
            file_format: None,
        }
    }
}

/// Returns the string unless it is empty: clients send empty strings for members that they do not use.
fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn provider_name(provider: StorageProvider) -> &'static str {
    match provider {
        StorageProvider::S3 => "s3",
        StorageProvider::Whereby => "whereby",
    }
}

fn authentication_name(authentication: StorageAuthentication) -> &'static str {
    match authentication {
        StorageAuthentication::AccessKey => "accessKey",
        StorageAuthentication::RoleBased => "roleBased",
    }
}

fn language_code(language: TranscriptionLanguage) -> &'static str {
    use TranscriptionLanguage as L;
    match language {
        L::Ca => "ca",
        L::Zh => "zh",
        L::ZhTw => "zh-TW",
        L::Cs => "cs",
        L::Da => "da",
        L::Nl => "nl",
        L::En => "en",
        L::EnUs => "en-US",
        L::EnGb => "en-GB",
        L::Fi => "fi",
        L::Fr => "fr",
        L::De => "de",
        L::DeCh => "de-CH",
        L::El => "el",
        L::Hi => "hi",
        L::Id => "id",
        L::It => "it",
        L::Ja => "ja",
        L::Ko => "ko",
        L::Lv => "lv",
        L::Ms => "ms",
        L::No => "no",
        L::Pl => "pl",
        L::Pt => "pt",
        L::PtBr => "pt-BR",
        L::Ro => "ro",
        L::Ru => "ru",
        L::Sk => "sk",
        L::Es => "es",
        L::Sv => "sv",
        L::Th => "th",
        L::Uk => "uk",
        L::Vi => "vi",
    }
}

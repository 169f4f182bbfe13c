//! The functions through the real component: what they send, return and fail with.

mod costs;
mod create_room;
mod delete_room;
mod errors;
mod get_current_user;
mod get_meeting;
mod get_room;
mod hostile_network;
mod list_meetings;
mod list_rooms;
mod malformed;
mod network;
mod pages;
mod retries;
mod switches;
mod writes;

#![no_main]
strongroom_libfuzzer::target!("token_request");

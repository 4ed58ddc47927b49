#![no_main]
strongroom_libfuzzer::target!("skip_token");

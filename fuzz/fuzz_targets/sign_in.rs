#![no_main]
strongroom_libfuzzer::target!("sign_in");

#![no_main]
strongroom_libfuzzer::target!("key_set");

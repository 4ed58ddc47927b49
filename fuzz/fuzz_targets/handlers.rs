#![no_main]
strongroom_libfuzzer::target!("handlers");

#![no_main]
strongroom_libfuzzer::target!("audit_log");

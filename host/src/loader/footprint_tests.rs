//! Tests of whose an address is. The ranges are ones where nothing is ever mapped.

use super::footprint::{is_module, occupy, retire, sweep_this_thread, take_destructor, vacate};

extern "C" fn ignored(_: *mut std::ffi::c_void) {}

const FIRST: u64 = u64::MAX - 1;
const SECOND: u64 = u64::MAX - 2;

#[test]
fn a_range_is_its_latest_owners_even_if_the_one_before_was_not_seen_going() {
    occupy(FIRST, (0x1000, 0x3000));
    occupy(SECOND, (0x2000, 0x4000));
    assert!(!is_module(0x1000) && is_module(0x2000) && is_module(0x3fff));
    vacate(FIRST);
    assert!(is_module(0x2000));
    vacate(SECOND);
    assert!(!is_module(0x2000));
}

#[test]
fn a_destructor_is_the_modules_that_registers_it_wherever_it_lies() {
    const THIRD: u64 = u64::MAX - 3;
    occupy(THIRD, (0x5000, 0x6000));
    assert!(!take_destructor(ignored, std::ptr::null_mut(), 0x4fff));
    assert!(take_destructor(ignored, std::ptr::null_mut(), 0x5000));
    assert_eq!(super::footprint::in_the_way(THIRD).entries, 1);
    retire(THIRD);
    sweep_this_thread();
    assert_eq!(super::footprint::in_the_way(THIRD).entries, 0);
    vacate(THIRD);
}

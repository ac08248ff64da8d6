import { age, bytes, count, countdown, counted, digest, duration, percent, quoted, version, wholePercent } from "../../src/format.ts";
import { check } from "./check.js";

check("a duration has at most two units", [duration(8_999), duration(192_000), duration(7_500_000), duration(349_200_000), duration(-5)], ["8 s", "3 min 12 s", "2 h 5 min", "4 d 1 h", "0 s"]);
check("a unit that is nothing is left out", duration(180_000), "3 min");
check("an age has one unit and is never below zero", [age(0, 59_000), age(0, 61_000), age(0, 7_300_000), age(0, 200_000_000), age(5_000, 0)], ["59 s", "1 min", "2 h", "2 d", "0 s"]);
check("a countdown rounds up and stops at zero", [countdown(247_001, 0), countdown(3_729_000, 0), countdown(0, 10)], ["4:08", "1:02:09", "0:00"]);
check("thousands are set apart", [count(999), count(10_012), count(1_234_567)], ["999", "10\u202f012", "1\u202f234\u202f567"]);
check("one is not many", [counted(1, "node"), counted(0, "node")], ["1 node", "0 nodes"]);
check("99.9 % is not 100 %, and something is not nothing", [percent(9_999, 10_000), percent(1, 10_000), wholePercent(0, 0), wholePercent(5, 5)], ["99 %", "1 %", 0, 100]);
check("bytes are told in binary units", [bytes(512), bytes(34_359_738_368), bytes(1_500_000)], ["512 B", "32.0 GiB", "1.4 MiB"]);
check("a release is its version and its digest", [version("v1.2.0@3f2a"), digest("v1.2.0@3f2a"), version("v1"), digest("v1")], ["v1.2.0", "@3f2a", "v1", ""]);
check("a shell gets quotes only where it needs them", [quoted("50,100"), quoted("it's late")], ["50,100", "'it'\\''s late'"]);

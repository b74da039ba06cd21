//! A command that shows what it was granted, and tries for more: wasi ACTION [ARG]...

use std::io::{self, Read, Write};
use std::{env, fs, process, thread, time};

fn say(what: &str, result: io::Result<String>) {
    match result {
        Ok(text) => println!("{}: ok {}", what, text.trim_end()),
        Err(error) => println!("{}: {}", what, error.raw_os_error().unwrap_or(-1)),
    }
}

fn main() {
    let args: Vec<String> = env::args().collect();
    let rest: Vec<&str> = args[2..].iter().map(String::as_str).collect();
    match args[1].as_str() {
        "show" => {
            let mut input = String::new();
            io::stdin().read_to_string(&mut input).unwrap();
            let mut variables: Vec<(String, String)> = env::vars().collect();
            variables.sort();
            println!("{:?} {:?} {:?}", rest, variables, input);
            eprintln!("to stderr");
            assert!(time::SystemTime::now().duration_since(time::UNIX_EPOCH).unwrap().as_secs() > 1_600_000_000);
            let start = time::Instant::now();
            thread::sleep(time::Duration::from_millis(20));
            assert!(start.elapsed() >= time::Duration::from_millis(20));
        }
        "exit" => process::exit(rest[0].parse().unwrap()),
        "panic" => panic!("{}", rest[0]),
        "spin" => {
            println!("ready");
            loop {}
        }
        "wait" => {
            println!("ready");
            thread::sleep(time::Duration::from_secs(60));
        }
        "grow" => {
            let mut blocks: Vec<Vec<u8>> = vec![];
            loop {
                blocks.push(vec![1; 16 << 20]);
                println!("{}", blocks.len() * 16);
            }
        }
        "read" => rest.iter().for_each(|path| say(path, fs::read_to_string(path))),
        "list" => {
            let mut names: Vec<String> =
                fs::read_dir(rest[0]).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            println!("{:?}", names);
        }
        "write" => {
            let base = rest[0];
            let done = |result: io::Result<()>| result.map(|_| String::new());
            let path = |name: &str| format!("{}/{}", base, name);
            say("create", done(fs::write(path("new"), "text")));
            say("append", done(fs::OpenOptions::new().append(true).open(path("present")).and_then(|mut file| file.write_all(b"!"))));
            say("truncate", done(fs::File::create(path("present")).map(|_| ())));
            say("mkdir", done(fs::create_dir(path("folder"))));
            say("rename", done(fs::rename(path("present"), path("renamed"))));
            say("link", done(fs::hard_link(path("renamed"), path("linked"))));
            say("size", fs::metadata(path("renamed")).map(|info| info.len().to_string()));
            say("unlink", done(fs::remove_file(path("renamed"))));
            say("rmdir", done(fs::remove_dir(path("folder"))));
        }
        _ => {
            let base = rest[0];
            let done = |result: io::Result<()>| result.map(|_| String::new());
            for path in ["link_abs", "link_rel", "link_dir/passwd", "sub/../../outside.txt", "../outside.txt", "sub/up/secret"] {
                say(path, fs::read_to_string(format!("{}/{}", base, path)));
                say("write", done(fs::write(format!("{}/{}", base, path), "evil")));
            }
            say("absolute", fs::read_to_string("/etc/passwd"));
            say("through", done(fs::create_dir(format!("{}/link_out/evil", base))));
            say("move", done(fs::rename(format!("{}/inside.txt", base), format!("{}/link_out/evil", base))));
            say("hard", done(fs::hard_link(format!("{}/link_rel", base), format!("{}/hard", base))));
            say("hard", fs::read_to_string(format!("{}/hard", base)));
            say("inside", fs::read_to_string(format!("{}/link_in", base)));
        }
    }
}

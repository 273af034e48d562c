opt --list-passes

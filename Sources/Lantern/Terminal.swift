import Glibc

enum Terminal {
    /// Whether a person reads standard output.
    static var isStandardOutput: Bool { isatty(STDOUT_FILENO) == 1 }
}

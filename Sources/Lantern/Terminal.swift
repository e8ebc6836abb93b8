import Glibc

enum Terminal {
    /// Whether a person reads standard output.
    static var isStandardOutput: Bool { isatty(STDOUT_FILENO) == 1 }

    /// Whether that person wants colours (no-color.org).
    static func isColored(_ settings: Settings) -> Bool {
        self.isStandardOutput && settings.string("NO_COLOR") == nil && settings.string("TERM") != "dumb"
    }
}

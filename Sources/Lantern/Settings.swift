import Configuration
import Foundation

/// The environment of a service, read and checked. A variable that is malformed stops the start with one line.
public struct Settings: Sendable {
    private let reader: ConfigReader
    private let environment: [String: String]

    /// - Parameter environment: Variables by name, as in `ProcessInfo.processInfo.environment`.
    public init(environment: [String: String]) {
        self.environment = environment
        self.reader = ConfigReader(provider: EnvironmentVariablesProvider(environmentVariables: environment))
    }

    /// A variable's text; `nil` where it is missing or empty.
    public func string(_ name: String) -> String? {
        let key = ConfigKey(name.lowercased().split(separator: "_").map { String($0) })
        return self.reader.string(forKey: key).flatMap { $0.isEmpty ? nil : $0 }
    }

    /// - Throws: ``ConfigurationError`` where it is missing.
    public func required(_ name: String, _ expected: String) throws(ConfigurationError) -> String {
        guard let value = self.string(name) else {
            throw ConfigurationError(name: name, value: nil, expected: expected)
        }
        return value
    }

    /// A variable's value, as `parse` reads it.
    /// - Parameter secret: Masks the value in the error.
    /// - Throws: ``ConfigurationError`` where `parse` answers `nil`.
    public func value<Value>(
        _ name: String, default fallback: Value, _ expected: String, secret: Bool = false,
        _ parse: (String) -> Value?
    ) throws(ConfigurationError) -> Value {
        guard let text = self.string(name) else { return fallback }
        guard let value = parse(text) else {
            throw ConfigurationError(name: name, value: secret ? "***" : text, expected: expected)
        }
        return value
    }

    public func port(_ name: String, default fallback: Int) throws(ConfigurationError) -> Int {
        try self.value(name, default: fallback, "a port from 0 to 65535") { text in
            Int(text).flatMap { (0...65_535).contains($0) ? $0 : nil }
        }
    }

    public func boolean(_ name: String, default fallback: Bool) throws(ConfigurationError) -> Bool {
        try self.value(name, default: fallback, "true or false") { text in
            switch text.lowercased() {
            case "true", "1", "yes", "on": true
            case "false", "0", "no", "off": false
            default: nil
            }
        }
    }

    /// A duration such as `250ms`, `5s`, `15m`, `2h`; a bare number is seconds.
    public func duration(_ name: String, default fallback: Duration) throws(ConfigurationError) -> Duration {
        try self.value(name, default: fallback, "a duration such as 250ms, 5s, 15m or 2h", Self.duration)
    }

    /// A duration in milliseconds, as the OpenTelemetry variables give it.
    public func milliseconds(_ name: String, default fallback: Duration) throws(ConfigurationError) -> Duration {
        try self.value(name, default: fallback, "a number of milliseconds") { text in
            Int64(text).flatMap { $0 >= 0 ? .milliseconds($0) : nil }
        }
    }

    /// Every `KAFKA_<PROPERTY>` as a librdkafka property: `KAFKA_SECURITY_PROTOCOL` is `security.protocol`.
    var kafkaProperties: [String: String] {
        var properties: [String: String] = [:]
        for (name, value) in self.environment
        where name.hasPrefix("KAFKA_") && name != "KAFKA_BOOTSTRAP_SERVERS" && !value.isEmpty {
            properties[name.dropFirst(6).lowercased().replacing("_", with: ".")] = value
        }
        return properties
    }

    static func duration(_ text: String) -> Duration? {
        let units: [(String, Double)] = [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3_600)]
        let unit = units.first { text.hasSuffix($0.0) }
        let number = unit.map { text.dropLast($0.0.count) } ?? text[...]
        guard let value = Double(number), value.isFinite, value >= 0, value * (unit?.1 ?? 1) <= 1e9 else { return nil }
        return .milliseconds(Int64((value * (unit?.1 ?? 1) * 1_000).rounded()))
    }
}

/// A variable that is missing or malformed.
public struct ConfigurationError: Error, Sendable, CustomStringConvertible {
    public var name: String
    public var value: String?
    public var expected: String

    public init(name: String, value: String?, expected: String) {
        self.name = name
        self.value = value
        self.expected = expected
    }

    /// One line.
    public var description: String {
        self.value.map { String($0.map { $0.isNewline || $0.asciiValue.map { $0 < 0x20 } == true ? "\u{FFFD}" : $0 }) }
            .map { "\(self.name)=\($0) is not valid: expected \(self.expected)" }
            ?? "\(self.name) is not set: expected \(self.expected)"
    }
}

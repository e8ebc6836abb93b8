// swift-tools-version: 6.1
import PackageDescription

// SE-0335, SE-0444 and SE-0409: `any` is written out, members come only from modules a file imports,
// and an import is an implementation detail unless it says `public`.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

// Ecosystem API packages: how the tools of floor 0 meet without knowing each other.
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let metrics: Target.Dependency = .product(name: "Metrics", package: "swift-metrics")
let tracing: Target.Dependency = .product(name: "Tracing", package: "swift-distributed-tracing")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")

let configuration: Target.Dependency = .product(name: "Configuration", package: "swift-configuration")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let httpTypes: Target.Dependency = .product(name: "HTTPTypes", package: "swift-http-types")
let httpClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")

let package = Package(
    name: "lantern",
    products: [
        .library(name: "Lantern", targets: ["Lantern"]),
        .library(name: "LanternHTTP", targets: ["LanternHTTP"]),
        .library(name: "LanternEvents", targets: ["LanternEvents"]),
        .library(name: "LanternEventsTesting", targets: ["LanternEventsTesting"]),
        .library(name: "LanternIdentity", targets: ["LanternIdentity"]),
        .library(name: "LanternLogging", targets: ["LanternLogging"]),
        .library(name: "LanternMetrics", targets: ["LanternMetrics"]),
        .library(name: "LanternMetricsTesting", targets: ["LanternMetricsTesting"]),
        .library(name: "LanternTracing", targets: ["LanternTracing"]),
        .library(name: "LanternTracingTesting", targets: ["LanternTracingTesting"]),
        .library(name: "LanternPostgres", targets: ["LanternPostgres"]),
        .library(name: "LanternJSON", targets: ["LanternJSON"]),
        .library(name: "LanternKafka", targets: ["LanternKafka"]),
        .library(name: "LanternKafkaTesting", targets: ["LanternKafkaTesting"]),
        .library(name: "LanternLocal", targets: ["LanternLocal"]),
        .executable(name: "auth", targets: ["auth"]),
        .executable(name: "order", targets: ["order"]),
        .executable(name: "activity", targets: ["activity"]),
        .executable(name: "lantern", targets: ["LanternCLI"]),
    ],
    dependencies: [
        // Command line of `lantern`.
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
        // Configuration from the environment.
        .package(url: "https://github.com/apple/swift-configuration.git", from: "1.4.0"),
        // Hashing, signatures, scrypt.
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
        // Tracing API.
        .package(url: "https://github.com/apple/swift-distributed-tracing.git", from: "1.7.3"),
        // Header fields and methods, as Hummingbird speaks them.
        .package(url: "https://github.com/apple/swift-http-types.git", from: "1.8.0"),
        // Logging API.
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
        // Metrics API.
        .package(url: "https://github.com/apple/swift-metrics.git", from: "2.13.0"),
        // Byte buffers of HTTP bodies.
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
        // OTLP messages.
        .package(url: "https://github.com/apple/swift-protobuf.git", from: "1.39.0"),
        // HTTP server and router.
        .package(url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.1"),
        // HTTP client.
        .package(url: "https://github.com/swift-server/async-http-client.git", from: "1.37.0"),
        // Start and graceful shutdown.
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
        // JSON Web Tokens and key sets.
        .package(url: "https://github.com/vapor/jwt-kit.git", from: "5.7.1"),
    ],
    targets: [
        // MARK: Ground
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CRDKafka", pkgConfig: "rdkafka", providers: [.apt(["librdkafka-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(name: "CLanternSystem"),
        .target(name: "CLanternMetrics"),
        .target(name: "CLanternLogging"),
        .target(name: "CBrokerPort"),

        // MARK: Floor 0, tools
        .target(
            name: "LanternLogging",
            dependencies: ["CLanternLogging", logging],
            swiftSettings: settings
        ),
        .target(
            name: "LanternMetrics",
            dependencies: ["CLanternMetrics", "CZlib", logging, metrics],
            swiftSettings: settings
        ),
        .target(
            name: "LanternTracing",
            dependencies: [
                "CZlib", httpClient, lifecycle, logging, metrics, nioCore, nioHTTP1, tracing,
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            exclude: ["Protobuf/otlp.proto"],
            swiftSettings: settings
        ),
        .target(
            name: "LanternPostgres",
            dependencies: ["CLibPQ", "CLanternSystem", lifecycle, logging, metrics, tracing],
            swiftSettings: settings
        ),
        .target(
            name: "LanternKafka",
            dependencies: ["CRDKafka", "CLanternSystem", lifecycle, logging, metrics, tracing],
            swiftSettings: settings
        ),
        .target(name: "LanternJSON", swiftSettings: settings),
        .target(
            name: "LanternKafkaTesting",
            dependencies: ["CBrokerPort", "CRDKafka"],
            swiftSettings: settings
        ),

        // MARK: Floor 1, parts
        .target(name: "LanternTracingTesting", dependencies: ["LanternTracing", tracing], swiftSettings: settings),
        .target(name: "LanternMetricsTesting", dependencies: ["LanternMetrics"], swiftSettings: settings),
        .target(
            name: "LanternHTTP",
            dependencies: [
                "LanternJSON", hummingbird, httpClient, httpTypes, lifecycle, logging, metrics, nioCore, nioHTTP1,
                tracing,
            ],
            swiftSettings: settings
        ),
        .target(
            name: "LanternEvents",
            dependencies: [
                "LanternJSON", "LanternKafka", "LanternPostgres", crypto, lifecycle, logging, metrics, tracing,
            ],
            swiftSettings: settings
        ),
        .target(
            name: "LanternIdentity",
            dependencies: [
                crypto, httpClient, logging, metrics, nioCore, nioHTTP1,
                .product(name: "CryptoExtras", package: "swift-crypto"),
                .product(name: "JWTKit", package: "jwt-kit"),
            ],
            swiftSettings: settings
        ),

        // MARK: Floor 2, wrap
        .target(
            name: "LanternEventsTesting", dependencies: ["LanternEvents", "LanternKafka", logging],
            swiftSettings: settings
        ),
        .target(
            name: "Lantern",
            dependencies: [
                "LanternEvents", "LanternHTTP", "LanternIdentity", "LanternKafka", "LanternLogging",
                "LanternMetrics", "LanternPostgres", "LanternTracing",
                configuration, crypto, hummingbird, httpClient, httpTypes, lifecycle, logging, metrics, nioCore,
                nioPosix, tracing,
            ],
            swiftSettings: settings
        ),
        .target(
            name: "LanternLocal",
            dependencies: [
                "CLanternSystem", "LanternKafkaTesting", "LanternTracing", hummingbird, httpTypes, lifecycle, logging,
                nioCore,
            ],
            swiftSettings: settings
        ),

        // MARK: Floor 3, services
        .target(
            name: "AuthService",
            dependencies: ["Lantern", crypto, httpTypes, .product(name: "JWTKit", package: "jwt-kit")],
            swiftSettings: settings
        ),
        .target(
            name: "OrderService",
            dependencies: ["Lantern", httpTypes],
            swiftSettings: settings
        ),
        .target(
            name: "ActivityService",
            dependencies: ["Lantern", "LanternTracing", crypto, httpTypes, nioCore],
            swiftSettings: settings
        ),

        // MARK: Floor 4, doors
        .executableTarget(name: "auth", dependencies: ["AuthService", "Lantern"], swiftSettings: settings),
        .executableTarget(name: "order", dependencies: ["OrderService", "Lantern"], swiftSettings: settings),
        .executableTarget(name: "activity", dependencies: ["ActivityService", "Lantern"], swiftSettings: settings),
        .executableTarget(
            name: "LanternCLI",
            dependencies: [
                "ActivityService", "AuthService", "Lantern", "LanternKafkaTesting", "LanternLocal", "LanternPostgres",
                "LanternTracing", "OrderService", httpClient, lifecycle, logging, nioCore, nioHTTP1,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings
        ),
        // MARK: Benchmarks
        .target(name: "BenchmarkSupport", path: "Benchmarks/Support", swiftSettings: settings),
        .executableTarget(
            name: "bench-metrics", dependencies: ["BenchmarkSupport", "LanternMetrics", metrics],
            path: "Benchmarks/Metrics", swiftSettings: settings
        ),
        .executableTarget(
            name: "bench-logging", dependencies: ["BenchmarkSupport", "LanternLogging", logging],
            path: "Benchmarks/Logging", swiftSettings: settings
        ),
        .executableTarget(
            name: "bench-tracing", dependencies: ["BenchmarkSupport", "LanternTracing", logging, tracing],
            path: "Benchmarks/Tracing", swiftSettings: settings
        ),
        .executableTarget(
            name: "bench-postgres",
            dependencies: ["BenchmarkSupport", "LanternPostgres", "TestSupport", logging, metrics, tracing],
            path: "Benchmarks/Postgres", swiftSettings: settings
        ),
        .target(
            name: "BrokerProcess", dependencies: ["LanternKafkaTesting"], path: "Benchmarks/BrokerProcess",
            swiftSettings: settings
        ),
        .target(
            name: "CEventsBaseline", dependencies: ["CLibPQ", "CRDKafka"], path: "Benchmarks/CEventsBaseline"),
        .executableTarget(
            name: "bench-kafka",
            dependencies: ["BenchmarkSupport", "BrokerProcess", "CEventsBaseline", "LanternKafka", logging],
            path: "Benchmarks/Kafka", swiftSettings: settings
        ),
        .executableTarget(
            name: "bench-events",
            dependencies: [
                "ActivityService", "BenchmarkSupport", "BrokerProcess", "CEventsBaseline", "LanternEvents",
                "LanternKafka", "LanternPostgres", "TestSupport", lifecycle, logging, metrics, tracing,
            ],
            path: "Benchmarks/Events", swiftSettings: settings
        ),
        .executableTarget(
            name: "bench-http",
            dependencies: [
                "BenchmarkSupport", "LanternHTTP", "LanternLogging", "LanternMetrics", "LanternPostgres",
                "LanternTracing", "TestSupport", hummingbird, logging, metrics, nioCore, tracing,
            ],
            path: "Benchmarks/HTTP", swiftSettings: settings
        ),

        // MARK: Tests
        .target(
            name: "TestSupport",
            dependencies: ["LanternLocal", "LanternPostgres", logging],
            path: "Tests/TestSupport",
            swiftSettings: settings
        ),
        // What Tests/Exposition runs: records what it is told, and writes the exposition.
        .executableTarget(
            name: "exposition-fixture", dependencies: ["LanternMetrics", metrics], path: "Tests/ExpositionFixture",
            swiftSettings: settings
        ),
        // What Tests/Logs runs: logs as it is told, and ends as it is told.
        .executableTarget(
            name: "log-fixture", dependencies: ["LanternLogging", logging], path: "Tests/LogFixture",
            swiftSettings: settings
        ),
        // What Tests/OTLP runs: makes spans and exports them.
        .executableTarget(
            name: "span-fixture",
            dependencies: [
                "LanternTracing", httpClient, lifecycle, logging, metrics, tracing,
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            path: "Tests/SpanFixture", swiftSettings: settings
        ),
        // What every transport is held against: by LanternEventsTests, and by `make conformance`.
        .target(
            name: "TransportConformance", dependencies: ["LanternEvents", "LanternKafka", logging],
            path: "Tests/TransportConformance", swiftSettings: settings
        ),
        .executableTarget(
            name: "conformance", dependencies: ["LanternEvents", "LanternKafka", "TransportConformance", logging],
            path: "Tests/ConformanceTool", swiftSettings: settings
        ),
        // What scripts/trace-context runs.
        .executableTarget(
            name: "trace-context-harness",
            dependencies: ["LanternHTTP", "LanternTracing", hummingbird, httpClient, logging, nioCore, tracing],
            path: "Tests/TraceContextHarness", swiftSettings: settings
        ),
        .testTarget(name: "ArchitectureTests", swiftSettings: settings),
        .testTarget(name: "LanternLoggingTests", dependencies: ["LanternLogging", logging], swiftSettings: settings),
        .testTarget(
            name: "LanternMetricsTests",
            dependencies: [
                "LanternMetrics", "LanternMetricsTesting", logging, metrics,
                .product(name: "CoreMetrics", package: "swift-metrics"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "LanternTracingTests",
            dependencies: [
                "LanternMetrics", "LanternMetricsTesting", "LanternTracing", "LanternTracingTesting", lifecycle,
                logging,
                metrics, tracing,
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "LanternPostgresTests",
            dependencies: [
                "LanternLocal", "LanternPostgres", "LanternTracing", "LanternTracingTesting", "TestSupport", logging,
                tracing,
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "LanternKafkaTests",
            dependencies: [
                "CRDKafka", "LanternKafka", "LanternKafkaTesting", "LanternTracing", "LanternTracingTesting",
                "TestSupport",
                logging, metrics, tracing,
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "LanternHTTPTests",
            dependencies: [
                "LanternHTTP", "LanternJSON", "LanternMetrics", "LanternTracing", hummingbird, httpClient, httpTypes,
                lifecycle,
                logging, metrics, nioCore, nioHTTP1, tracing,
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "LanternEventsTests",
            dependencies: [
                "LanternEvents", "LanternEventsTesting", "LanternKafka", "LanternKafkaTesting", "LanternPostgres",
                "TestSupport", "TransportConformance", lifecycle, logging, metrics, tracing,
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "LanternIdentityTests",
            dependencies: [
                "LanternIdentity", crypto, httpClient, nioCore, .product(name: "JWTKit", package: "jwt-kit"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "LanternTests",
            dependencies: [
                "Lantern", "LanternHTTP", "LanternKafkaTesting", "LanternMetrics", "LanternPostgres", "TestSupport",
                hummingbird, httpTypes, logging, nioCore,
                .product(name: "HummingbirdTesting", package: "hummingbird"),
            ],
            swiftSettings: settings
        ),
        .testTarget(name: "AuthServiceTests", dependencies: ["AuthService", "Lantern"], swiftSettings: settings),
        .testTarget(
            name: "OrderServiceTests",
            dependencies: ["CLibPQ", "Lantern", "LanternPostgres", "OrderService", httpTypes, nioCore],
            swiftSettings: settings),
        .testTarget(
            name: "ActivityServiceTests", dependencies: ["ActivityService", "Lantern", "TestSupport", crypto],
            swiftSettings: settings),
        .testTarget(
            name: "PlatformTests",
            dependencies: [
                "ActivityService", "AuthService", "Lantern", "LanternKafkaTesting", "LanternLocal", "LanternLogging",
                "LanternMetrics", "LanternMetricsTesting",
                "LanternPostgres", "LanternTracing", "LanternTracingTesting", "OrderService", "TestSupport", httpClient,
                logging, nioCore,
                nioHTTP1,
                tracing,
            ],
            swiftSettings: settings
        ),
    ]
)

// swift-tools-version: 6.1
import PackageDescription

// A package outside the tree, as a service author has it: it depends on Lantern's products only.
let package = Package(
    name: "greeter",
    dependencies: [.package(name: "lantern", path: "../..")],
    targets: [
        .executableTarget(name: "Greeter", dependencies: [.product(name: "Lantern", package: "lantern")])
    ]
)

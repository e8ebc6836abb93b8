import Glibc
import Synchronization

extension MetricsRegistry {
    /// Adds the `process_*` metrics under the names of the official Prometheus clients, read from `/proc/self`.
    public func collectProcess() {
        self.declare([
            MetricDeclaration(
                "process_cpu_seconds_total", .counter, "Total user and system CPU time spent in seconds."),
            MetricDeclaration("process_open_fds", .gauge, "Number of open file descriptors."),
            MetricDeclaration("process_max_fds", .gauge, "Maximum number of open file descriptors."),
            MetricDeclaration("process_virtual_memory_bytes", .gauge, "Virtual memory size in bytes."),
            MetricDeclaration("process_resident_memory_bytes", .gauge, "Resident memory size in bytes."),
            MetricDeclaration(
                "process_start_time_seconds", .gauge, "Start time of the process since unix epoch in seconds."),
            MetricDeclaration("process_threads", .gauge, "Number of operating system threads of the process."),
        ])
        self.collect("process") { sink in
            if let stat = ProcessStatus.read() {
                sink.add("process_cpu_seconds_total", .counter, value: stat.cpuSeconds)
                sink.add("process_virtual_memory_bytes", .gauge, value: stat.virtualBytes)
                sink.add("process_resident_memory_bytes", .gauge, value: stat.residentBytes)
                sink.add("process_threads", .gauge, value: stat.threads)
                if let boot = ProcessStatus.bootTime() {
                    sink.add("process_start_time_seconds", .gauge, value: boot + stat.startedAfterBoot)
                }
            }
            if let open = ProcessStatus.openDescriptors() {
                sink.add("process_open_fds", .gauge, value: Double(open))
            }
            var limit = rlimit()
            if getrlimit(__rlimit_resource_t(7), &limit) == 0 {
                sink.add("process_max_fds", .gauge, value: Double(limit.rlim_cur))
            }
        }
    }
}

/// What `/proc/self/stat` tells (proc(5)); fields are counted after the command, which may hold spaces and brackets.
struct ProcessStatus {
    var cpuSeconds: Double
    var virtualBytes: Double
    var residentBytes: Double
    var threads: Double
    var startedAfterBoot: Double

    static func read() -> ProcessStatus? {
        guard let text = self.contents(of: "/proc/self/stat"), let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ").map { Double($0) ?? 0 }
        guard fields.count > 21 else { return nil }
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        return ProcessStatus(
            cpuSeconds: (fields[11] + fields[12]) / ticks,
            virtualBytes: fields[20],
            residentBytes: fields[21] * Double(sysconf(Int32(_SC_PAGESIZE))),
            threads: fields[17],
            startedAfterBoot: fields[19] / ticks
        )
    }

    /// Seconds since the epoch at which the machine started.
    static func bootTime() -> Double? {
        self.contents(of: "/proc/stat")?.split(separator: "\n").first { $0.hasPrefix("btime ") }
            .flatMap { Double($0.dropFirst(6)) }
    }

    static func openDescriptors() -> Int? {
        guard let directory = opendir("/proc/self/fd") else { return nil }
        defer { closedir(directory) }
        var count = 0
        while readdir(directory) != nil { count += 1 }
        // Not ".", "..", and the descriptor that reads the directory.
        return max(0, count - 3)
    }

    private static func contents(of path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            guard count > 0 else { break }
            bytes.append(contentsOf: chunk[..<count])
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

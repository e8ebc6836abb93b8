@main enum ConformanceTool { static func main() {} }

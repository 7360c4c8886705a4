from farm.report import Report
def write_page(report, path): path.write_text("x")

const font = "system-ui, sans-serif";
document.body.style.margin = 0;
Redoc.init(
  "/api/schema/",
  {
    expandResponses: "200,201",
    jsonSampleExpandLevel: 3,
    sortRequiredPropsFirst: false,
    theme: { typography: { fontFamily: font, headings: { fontFamily: font } } },
  },
  document.getElementById("page"),
);

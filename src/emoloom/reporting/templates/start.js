"use strict";
Report.unpack().then(function (data) {
  Report.rows(data);
  Report.figures(data.figures);
  document.documentElement.dataset.ready = "true";
  performance.mark("ready");
}).catch(function (error) {
  /* An old browser cannot unpack the data: scores and method are in the page, rows and figures are not. */
  Report.find("#trouble").textContent = "Rows and figures cannot be shown in this browser (" + error + ").";
  Report.find("#trouble").hidden = false;
});

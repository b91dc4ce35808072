local annotations = obj.metadata.annotations
if annotations ~= nil then
  annotations["specdecode.io/paused"] = nil
  -- An empty table would be taken for an accident, and the old annotations would stay.
  if next(annotations) == nil then
    obj.metadata.annotations = nil
  end
end
return obj
